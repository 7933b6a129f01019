#!/usr/bin/env bash
# The checker of the consoles finds each kind of fault, and none where there is none.
set -euo pipefail
checker=$(dirname "${BASH_SOURCE[0]}")/console.awk

# line SEQ MONO [REAL] [BACK] [BAD]: with the line end of a terminal.
line() {
  printf 'seq=%s mono=%s real=%s gap=5000 back=%s bad=%s checked=9\r\n' "$1" "$2" \
    "${3:-$((1700000000000000 + $2))}" "${4:-0}" "${5:-0}"
}

# expect WHAT NAME=VALUE: of the console on standard input, in the summary; all else is zero.
expect() {
  local what=$1 wanted=$2 summary name
  summary=$(LC_ALL=C awk -v bounds="${bounds:-}" -f "$checker" | grep '^lines=' || true)
  for name in lost repeated mono_back real_back clock_back bad kernel strange; do
    [[ $wanted != "$name="* ]] || name=$wanted
    [[ $name == *=* ]] || name=$name=0
    if [[ " $summary " != *" $name "* ]]; then
      printf '%s: %s is not in: %s\n' "$what" "$name" "$summary"
      exit 1
    fi
  done
}

{ line 0 100; line 1 200; line 2 300; } | expect 'nothing wrong' lines=3
{ line 0 100; line 2 300; } | expect 'a line lost' lost=1
{ line 0 100; line 1 200; line 1 200; line 2 300; } | expect 'a line twice' repeated=1
{ line 0 100; printf 'seq=1 mono=2\r\n'; line 1 200; } | expect 'half a line' strange=1
{ line 0 100; line 1 50 1700000000000200; } | expect 'CLOCK_MONOTONIC back' mono_back=1
{ line 0 100; line 1 200 1600000000000000; } | expect 'CLOCK_REALTIME back' real_back=1
{ line 0 100; line 1 200 '' 1; line 2 300 '' 1; } | expect 'a clock back between lines' clock_back=1
{ line 0 100; line 1 200 '' 0 2; } | expect 'wrong pages' bad=2
{ line 0 100; printf 'kmsg: watchdog: BUG: soft lockup\r\n'; line 1 200; } |
  expect 'a warning of the kernel' kernel=1

# A move in the middle of line 1: the line is whole, and the step over the move is found.
bounds=$(($(line 0 100 | wc -c) + 10))
said=$({ line 0 100; line 1 200; line 2 900; line 3 1000; } |
  LC_ALL=C awk -v bounds="$bounds" -f "$checker")
if [[ $said != 'move=1 before=0 after=2 gap=5000 mono_step=700 real_step=700'* ]]; then
  printf 'a move in the middle of a line: %s\n' "$said"
  exit 1
fi
