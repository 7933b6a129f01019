# shellcheck shell=bash
# Debian (debian_guest.sh) moved back and forth with clients watching: a part of tools/lab test.
# Sourced by tools/lab.

DEBIAN_MOVES=5

# move_debian COUNT: and a line for each move: what the client saw, and what godwit says.
move_debian() {
  local i begin n
  for ((i = 0; i < $1; i++)); do
    n=$GUEST_CONSOLES begin=$(now_us)
    move_guest || return
    printf '  move %s: the client waited for %s s at most, the guest stood still for %s\n' "$n" \
      "$(seconds_of "$(worst_call "$begin" "$(now_us)")")" \
      "$(sed -n 's/.* runs at the target: downtime \([^,]*\),.*/\1/p' "$GUEST_DIR/move.$n")" >&2
  done
}

# A line from the guest's virtio console, in the file that it leads to.
hvc_speaks() {
  in_guest 60 'echo from the guest >/dev/hvc0' && wait_in a 30 /run/lab/hvc '^from the guest'
}

# balloon_takes SIZE: until the guest has given back all above that.
balloon_takes() {
  local i said=
  run_quietly "$GUEST_HOST" 30 "godwit balloon $GUEST_NAME $1" || return
  for ((i = 0; i < 120; i++)); do
    said=$(run_on "$GUEST_HOST" no 20 "godwit info $GUEST_NAME" | grep -i balloon)
    [[ $said == *"$2"* ]] && return
    sleep 0.5
  done
  printf '%s' "$said"
  return 1
}

random_numbers() {
  local rng=/sys/class/misc/hw_random/rng_current
  in_guest 60 "grep -q virtio_rng $rng && dd if=/dev/hwrng bs=4096 count=64 2>&1 >/dev/null | tail -n 1"
}

# test_debian: with no guest in the lab.
test_debian() {
  local status=0
  debian_disk "$DEBIAN_DISK" || status=$?
  if [ $status -eq 2 ]; then
    skip_checks 14 "the Debian disk cannot be made here: $DEBIAN_LACKS"
    return 0
  elif [ $status -ne 0 ]; then
    check 'the Debian disk can be made' false || true
    return 0
  fi
  check 'Debian boots on host a: 2 CPUs, a disk over NBD, a network' boot_debian || return 0
  check 'a client calls it' start_caller || return 0
  check 'its virtio console speaks' hvc_speaks || true
  check 'its random numbers come from the host' random_numbers || true
  move_debian $DEBIAN_MOVES || { check "it moves $DEBIAN_MOVES times" false; return 0; }
  check "the client's connection lived through $DEBIAN_MOVES moves: no message lost or repeated" \
    finish_caller || true
  check 'the console can be read' check_console || return 0
  check 'no line of the console lost, repeated or garbled' all_lines
  check 'no clock of the guest went back' clocks_forward
  check 'the guest finds all its pages as it wrote them' pages_right
  check 'hashes of all guest memory are equal' memory_equal 1 $DEBIAN_MOVES
  check 'every record that was written to the disk is there, once' records_right
  check 'the guest kernel has nothing to warn of' dmesg_quiet
  check 'its balloon takes memory from it' balloon_takes 320M 'gets along with 320 MiB' || true
  check 'it powers off by its button and leaves a clean file system' debian_ends
}
