# shellcheck shell=bash
# tools/lab demo: a Linux guest moves between the hosts, and says what it saw. Sourced by tools/lab.

heading() { printf '\n== %s\n' "$1"; }

# seconds_of US
seconds_of() { LC_ALL=C awk -v us="$1" 'BEGIN { printf "%.3f", us / 1000000 }'; }

# borrow_lab: the lab as it is, or one that goes when we do.
borrow_lab() {
  lock_lab
  if is_up; then
    load_options
    find_godwit
    if ! run_quietly a 30 'cd /run/lab; ! godwit list | grep -q "^linux "' ||
      ! run_quietly b 30 '! godwit list | grep -q "^linux "'; then
      die 'a guest named linux runs in the lab: tools/lab run a (or b) godwit stop linux'
    fi
    return
  fi
  default_options
  bring_up
  trap 'stop_lab' EXIT
}

# console_verdict: whether the guest noticed more of its moves than their length; says what.
console_verdict() {
  local name faults=()
  for name in lost repeated mono_back real_back clock_back bad kernel strange; do
    [ "$(console_value $name)" = 0 ] || faults+=("$name=$(console_value $name)")
  done
  [ ${#faults[@]} -eq 0 ] && return
  grep -vE '^(move|lines)=' "$GUEST_DIR/checked" | head -n 10
  printf 'not as it should be: %s\n' "${faults[*]}"
  return 1
}

# what_guest_saw N: of a move, in words.
what_guest_saw() {
  printf 'The guest says: line %s before the move, line %s after it; it stood still for %s s\n' \
    "$(move_value "$1" before)" "$(move_value "$1" after)" "$(seconds_of "$(move_value "$1" gap)")"
}

# demo_json FORMAT VERDICT: all moves as one object; godwit's own is in each.
demo_json() {
  local i name first=
  printf '{"format":"%s","ok":%s,"moves":[' "$1" "$2"
  for ((i = 1; i < GUEST_CONSOLES; i++)); do
    printf '%s{"before":%s,"after":%s,"gap-us":%s,"clock-leap-us":%s,"migration":%s}' "$first" \
      "$(move_value "$i" before)" "$(move_value "$i" after)" "$(move_value "$i" gap)" \
      "${GUEST_LEAPS[i - 1]}" "$(cat "$GUEST_DIR/move.$i")"
    first=,
  done
  printf '],"console":{'
  first=
  for name in lines lost repeated mono_back real_back clock_back bad checked drift worst kernel \
    strange; do
    printf '%s"%s":%s' "$first" "${name//_/-}" "$(console_value $name)"
    first=,
  done
  printf '}}\n'
}

# demo MOVES FORMAT JSON
demo() {
  local moves=$1 format=$2 json=$3 i verdict=true options=()
  ! $json || options=(--json)
  if $json; then borrow_lab >&2; else borrow_lab; fi
  prepare_guests
  $json || heading "Linux ($format) boots under godwit on host a"
  boot_guest "$format" || return 1
  if ! $json; then
    run_on a no 20 "grep -a '^guest:' /run/lab/console.0"
    printf 'It rewrites and checks %s MiB, %s pages/s, and writes 20 lines a second.\n' \
      "$GUEST_BUSY_MIB" "$GUEST_BUSY_RATE"
  fi
  for ((i = 1; i <= moves; i++)); do
    $json || heading "Move $i: host $GUEST_HOST to host $(other_host "$GUEST_HOST")"
    move_guest "${options[@]}" || return 1
    check_console || return 1
    $json && continue
    grep -v '^active\|^setup$' "$GUEST_DIR/move.$i"
    printf '\n'
    what_guest_saw "$i"
  done
  stop_guest
  if $json; then
    console_verdict >&2 || verdict=false
    demo_json "$format" $verdict
    $verdict
    return
  fi
  heading "After $moves moves"
  console_verdict || return 1
  printf 'All %s lines came, once each and in order. No clock went back; real time is %s s off\n' \
    "$(console_value lines)" "$(seconds_of "$(console_value drift)")"
  printf 'the monotonic one. %s pages were right, none wrong. The kernel had nothing to say.\n' \
    "$(console_value checked)"
  printf 'Times are those of emulated hosts on one machine, and not those of Godwit on hardware.\n'
}
