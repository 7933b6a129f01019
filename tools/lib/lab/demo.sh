# shellcheck shell=bash
# tools/lab demo: a guest moves between the hosts, and says what it saw; so does who calls it.
# Sourced by tools/lab.
#
# DEMO_GUEST is debian or busybox.

heading() { printf '\n== %s\n' "$1"; }

# seconds_of US
seconds_of() { LC_ALL=C awk -v us="$1" 'BEGIN { printf "%.3f", us / 1000000 }'; }

# borrow_lab: the lab as it is, which then stays, or one that goes when we do.
borrow_lab() {
  lock_lab
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if is_up; then
    load_options
    find_godwit
    if ! run_quietly a 30 'cd /run/lab; ! godwit list | grep -q "^linux "' ||
      ! run_quietly b 30 '! godwit list | grep -q "^linux "'; then
      die 'a guest named linux runs in the lab: tools/lab run a (or b) godwit stop linux'
    fi
    trap 'drop_debian' EXIT
    return
  fi
  default_options
  bring_up
  trap 'stop_lab' EXIT
}

# choose_guest WANTED: debian, busybox, or nothing for what can be had.
choose_guest() {
  local status=0
  DEMO_GUEST=${1:-debian}
  [ "$DEMO_GUEST" = debian ] || return 0
  find_godwit  # what is missing is said before minutes are spent on a disk
  debian_disk "$DEBIAN_DISK" || status=$?
  [ $status -ne 0 ] || return 0
  [ $status -eq 2 ] || DEBIAN_LACKS='mmdebstrap failed, see above'
  [ -z "$1" ] || die "the Debian disk cannot be made here: $DEBIAN_LACKS" 2
  printf 'lab: the Debian disk cannot be made here (%s); a guest without disk and network instead\n' \
    "$DEBIAN_LACKS" >&2
  DEMO_GUEST=busybox
}

# demo_boots FORMAT KERNEL
demo_boots() {
  if [ "$DEMO_GUEST" = busybox ]; then
    boot_guest "$1"
  else
    boot_debian "$1" "$2" && start_caller
  fi
}

demo_introduces() {
  if [ "$DEMO_GUEST" = busybox ]; then
    run_on a no 20 "grep -a '^guest:' /run/lab/console.0"
    printf 'It rewrites and checks %s MiB, %s pages/s, and writes 20 lines a second.\n' \
      "$GUEST_BUSY_MIB" "$GUEST_BUSY_RATE"
    return
  fi
  # shellcheck disable=SC2016 # for the guest's shell
  in_guest 60 '. /etc/os-release; echo "$PRETTY_NAME, Linux $(uname -r), $(nproc) CPUs, clocksource $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"'
  printf 'Its root disk is on an NBD server, its network a tap. It appends records to a file, each\n'
  printf 'with fsync, rewrites and checks memory, and counts on its serial console. A client holds\n'
  printf 'one TCP connection to it and wants every message back.\n'
}

# console_verdict: whether the guest noticed more of its moves than their length; says what.
console_verdict() {
  local name names=(lost repeated mono_back real_back clock_back bad strange) faults=()
  # Debian has warnings of its own for the emulated CPU: dmesg_quiet looks for those that count.
  [ "$DEMO_GUEST" = debian ] || names+=(kernel)
  for name in "${names[@]}"; do
    [ "$(console_value "$name")" = 0 ] || faults+=("$name=$(console_value "$name")")
  done
  [ ${#faults[@]} -eq 0 ] && return
  grep -vE '^(move|lines)=' "$GUEST_DIR/checked" | head -n 10
  printf 'not as it should be: %s\n' "${faults[*]}"
  return 1
}

# what_was_seen N: of a move, in words.
what_was_seen() {
  local n=$1 answered worst
  printf 'The guest says: line %s before the move, line %s after it; it stood still for %s s\n' \
    "$(move_value "$n" before)" "$(move_value "$n" after)" "$(seconds_of "$(move_value "$n" gap)")"
  [ "$DEMO_GUEST" = debian ] || return 0
  read -r answered worst <<<"${DEMO_CALLS[n - 1]}"
  printf 'The client says: %s calls answered meanwhile, the longest wait was %s s\n' "$answered" \
    "$(seconds_of "$worst")"
}

# demo_moves COUNT JSON: DEMO_CALLS has the calls of each.
demo_moves() {
  local i begin options=()
  ! $2 || options=(--json)
  DEMO_CALLS=()
  for ((i = 1; i <= $1; i++)); do
    $2 || heading "Move $i: host $GUEST_HOST to host $(other_host "$GUEST_HOST")"
    begin=$(now_us)
    move_guest "${options[@]}" && check_console || return
    [ "$DEMO_GUEST" = busybox ] || DEMO_CALLS+=("$(calls "$begin" "$(now_us)")")
    $2 && continue
    grep -v '^active\|^setup$' "$GUEST_DIR/move.$i"
    printf '\n'
    what_was_seen "$i"
  done
}

# demo_ends: the guest's last words in DEMO_*; fails if anything is not as it should be, and says so.
demo_ends() {
  local status=0
  DEMO_CLIENT='' DEMO_RECORDS='' DEMO_DISK=''
  if [ "$DEMO_GUEST" = busybox ]; then
    stop_guest || status=1
  else
    DEMO_CLIENT=$(finish_caller) || status=1
    DEMO_RECORDS=$(records_right) || status=1
    dmesg_quiet || status=1
    DEMO_DISK=$(debian_ends) || status=1
    [ $status -eq 0 ] || printf '%s\n' "$DEMO_CLIENT" "$DEMO_RECORDS" "$DEMO_DISK"
  fi
  console_verdict && return $status
}

# value_in TEXT NAME: of what a program said as "NAME=7"; null when it did not.
value_in() {
  local value
  value=$(sed -n "s/.*\b$2=\([0-9]*\).*/\1/p" <<<"$1")
  printf '%s' "${value:-null}"
}

# demo_json FORMAT VERDICT: all moves as one object; godwit's own is in each.
demo_json() {
  local i name first=
  printf '{"guest":"%s","format":"%s","ok":%s,"moves":[' "$DEMO_GUEST" "$1" "$2"
  for ((i = 1; i < GUEST_CONSOLES; i++)); do
    printf '%s{"before":%s,"after":%s,"gap-us":%s,"clock-leap-us":%s' "$first" \
      "$(move_value "$i" before)" "$(move_value "$i" after)" "$(move_value "$i" gap)" \
      "${GUEST_LEAPS[i - 1]}"
    [ "$DEMO_GUEST" = busybox ] ||
      printf ',"calls":%s,"longest-call-us":%s' "${DEMO_CALLS[i - 1]% *}" "${DEMO_CALLS[i - 1]#* }"
    printf ',"migration":%s}' "$(cat "$GUEST_DIR/move.$i")"
    first=,
  done
  printf '],"console":{'
  first=
  for name in lines lost repeated mono_back real_back clock_back bad checked drift worst kernel \
    strange; do
    printf '%s"%s":%s' "$first" "${name//_/-}" "$(console_value $name)"
    first=,
  done
  printf '}'
  if [ "$DEMO_GUEST" = debian ]; then
    printf ',"client":{"messages":%s,"lost":%s},"disk":{"records":%s,"bad":%s,"out-of-order":%s}' \
      "$(value_in "$DEMO_CLIENT" messages)" "$(value_in "$DEMO_CLIENT" lost)" \
      "$(value_in "$DEMO_RECORDS" records)" "$(value_in "$DEMO_RECORDS" bad)" \
      "$(value_in "$DEMO_RECORDS" out_of_order)"
  fi
  printf '}\n'
}

demo_sums_up() {
  printf 'All %s lines came, once each and in order. No clock went back; real time is %s s off\n' \
    "$(console_value lines)" "$(seconds_of "$(console_value drift)")"
  printf 'the monotonic one. %s pages were right, none wrong. ' "$(console_value checked)"
  if [ "$DEMO_GUEST" = busybox ]; then
    printf 'The kernel had nothing to say.\n'
  else
    printf 'The kernel had nothing to say of it.\n'
    printf 'The client: %s messages over one connection, none lost, none repeated.\n' \
      "$(value_in "$DEMO_CLIENT" messages)"
    printf 'The disk: %s records, each there once and in order; the file system is clean.\n' \
      "$(value_in "$DEMO_RECORDS" records)"
  fi
  printf 'Times are those of emulated hosts on one machine, and not those of Godwit on hardware.\n'
}

# demo MOVES FORMAT JSON GUEST KERNEL
demo() {
  local moves=$1 format=$2 json=$3 verdict=true
  choose_guest "$4"
  if $json; then borrow_lab >&2; else borrow_lab; fi
  prepare_guests
  $json || heading "$DEMO_GUEST ($format) boots under godwit on host a"
  demo_boots "$format" "$5" || return 1
  $json || demo_introduces
  demo_moves "$moves" "$json" || return 1
  if $json; then
    demo_ends >&2 || verdict=false
    demo_json "$format" $verdict
    $verdict
    return
  fi
  heading "After $moves moves"
  demo_ends || return 1
  demo_sums_up
}
