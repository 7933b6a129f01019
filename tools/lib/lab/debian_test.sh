# shellcheck shell=bash
# Debian (debian_guest.sh) moved back and forth with clients watching: a part of tools/lab test.
# Sourced by tools/lab.

DEBIAN_MOVES=5
# What all that a host sends then goes through for some moves more: the guest's disk, its client's
# messages and the moves.
IMPAIRED_MOVES=1
IMPAIRED_DELAY_MS=20
IMPAIRED_LOSS=1%

# move_debian COUNT [OPTION]...: and a line for each move: what the client saw, and what godwit
# says.
move_debian() {
  local i begin n count=$1
  shift
  for ((i = 0; i < count; i++)); do
    n=$GUEST_CONSOLES begin=$(now_us)
    move_guest "$@" || return
    printf '  move %s: the client waited for %s s at most, the guest stood still for %s\n' "$n" \
      "$(seconds_of "$(worst_call "$begin" "$(now_us)")")" \
      "$(sed -n 's/.* runs at the target: downtime \([^,]*\),.*/\1/p' "$GUEST_DIR/move.$n")" >&2
  done
}

# A line from the guest's virtio console, in the file that it leads to.
hvc_speaks() {
  in_guest 60 'echo from the guest >/dev/hvc0' && wait_in a 30 /run/lab/hvc '^from the guest'
}

random_numbers() {
  local rng=/sys/class/misc/hw_random/rng_current
  in_guest 60 "grep -q virtio_rng $rng && dd if=/dev/hwrng bs=4096 count=64 2>&1 >/dev/null | tail -n 1"
}

# impair [NETEM...]: both hosts' links, from now on; without words no more.
impair() {
  local host
  for host in "${LAB_HOSTS[@]}"; do run_quietly "$host" 20 "lab-impair $*" || return; done
}

# packets_lost: what the link of each host dropped until now; both have.
packets_lost() {
  local host lost
  for host in "${LAB_HOSTS[@]}"; do
    lost=$(run_on "$host" no 20 '/usr/sbin/tc -s qdisc show dev eth0' | sed -n 's/.*(dropped \([0-9]*\),.*/\1/p')
    printf '%s %s ' "$host" "$lost"
    [ "${lost:-0}" -gt 0 ] || return
  done
}

# moves_impaired: on several channels, since TCP gives each one the less the more is lost.
# The limit leaves room for round trips, and for an emulated host's load of the state; the time-out for
# a last dirty set that waits for lost packets on a busy machine.
moves_impaired() {
  # shellcheck disable=SC2034
  local GUEST_LIMIT=2s GUEST_IO_TIMEOUT=60s
  impair "delay ${IMPAIRED_DELAY_MS}ms loss $IMPAIRED_LOSS" || return
  move_debian $IMPAIRED_MOVES --multifd-channels 8 || return
  packets_lost && impair
}

# budget_has_trips FIRST LAST: of those moves, the budget by which the guest was stopped has the round
# trip twice: for the state and its answer, and for the commit.
budget_has_trips() {
  local i terms state trip
  for ((i = $1; i <= $2; i++)); do
    terms=$(sed -n 's/^ *predicted from *//p' "$GUEST_DIR/move.$i")
    state=$(sed -n 's/.* state \([0-9.]*\),.*/\1/p' <<<"$terms")
    trip=$(sed -n 's/.* round trip \([0-9.]*\).*/\1/p' <<<"$terms")
    printf 'move %s: state %s ms, round trip %s ms; ' "$i" "$state" "$trip"
    awk -v state="$state" -v trip="$trip" -v delay=$IMPAIRED_DELAY_MS \
      'BEGIN { exit !(state >= 2 * delay && trip >= 2 * delay) }' || return
  done
}

# test_with_debian: all parts that need its disk.
test_with_debian() {
  local status=0
  debian_disk "$DEBIAN_DISK" || status=$?
  case $status in
    0)
      test_debian || true
      stop_guest >/dev/null 2>&1 || true
      test_storage || true
      ;;
    2) skip_checks 45 "the Debian disk cannot be made here: $DEBIAN_LACKS" ;;
    *) check 'the Debian disk can be made' false || true ;;
  esac
}

# test_debian: with no guest in the lab.
test_debian() {
  local moves=$((DEBIAN_MOVES + IMPAIRED_MOVES))
  DEBIAN_DEVICES="--rng --balloon $(devices_under_test)"
  check 'the disk that its devices are tested with is served' serve_scratch || return 0
  check 'Debian boots on host a: 2 CPUs, a disk over NBD, a network' boot_debian || return 0
  check 'a client calls it' start_caller || return 0
  check 'its virtio console speaks' hvc_speaks || true
  check 'its random numbers come from the host' random_numbers || true
  move_debian $DEBIAN_MOVES || { check "it moves $DEBIAN_MOVES times" false; return 0; }
  check "it moves over links of $IMPAIRED_DELAY_MS ms that lose $IMPAIRED_LOSS" moves_impaired ||
    return 0
  check 'the downtime budget has the round trip' budget_has_trips $((DEBIAN_MOVES + 1)) $moves ||
    true
  check "the client's connection lived through $moves moves: no message lost or repeated" \
    finish_caller || true
  check 'the console can be read' check_console || return 0
  check 'no line of the console lost, repeated or garbled' all_lines
  check 'no clock of the guest went back' clocks_forward
  check 'the guest finds all its pages as it wrote them' pages_right
  check 'hashes of all guest memory are equal' memory_equal 1 $moves
  check 'every record that was written to the disk is there, once' records_right
  test_devices
  check 'the guest kernel has nothing to warn of' dmesg_quiet
  check 'it powers off by its button and leaves a clean file system' debian_ends
}
