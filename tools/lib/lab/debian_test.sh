# shellcheck shell=bash
# Debian with a disk over NBD and a network, moved back and forth with clients watching: a part of
# tools/lab test. Sourced by tools/lab.
#
# The client's side of it runs on this machine in the lab's network: the NBD server that both hosts
# reach, and a caller that holds a TCP connection to the guest.

DEBIAN_ADDRESS=10.77.1.10
DEBIAN_MAC=52:54:00:4c:41:10
DEBIAN_MOVES=5

# start_disk_server: the guest's disk, for both hosts.
start_disk_server() {
  rm -f "$GUEST_DIR/disk"
  cp --sparse=always "$GODWIT_ROOT/build/debian/disk" "$GUEST_DIR/disk" || return
  start_process nbd nsenter --net="/proc/$(pid_of net)/ns/net" -- \
    nbdkit --foreground --ipaddr "$(address_of client)" --port 10809 file "$GUEST_DIR/disk"
}

# add_tap HOST: the guest's place in the network there.
add_tap() {
  # The shell there would take its own ip, which knows no taps.
  run_quietly "$1" 20 'ip=/usr/sbin/ip; $ip link show guest0 >/dev/null 2>&1 && exit 0
    $ip tuntap add guest0 mode tap && $ip link set guest0 master br0 && $ip link set guest0 up'
}

boot_debian() {
  local host
  GUEST_MEMORY=384M GUEST_PATIENCE=240
  GUEST_DEVICES="--disk nbd=nbd://$(address_of client):10809/ --net tap=guest0,mac=$DEBIAN_MAC --rng --balloon"
  for host in "${LAB_HOSTS[@]}"; do add_tap "$host" || return; done
  start_disk_server || return
  put_file a "$GODWIT_ROOT/build/debian/vmlinuz" /run/lab/debian
  put_file a "$GODWIT_ROOT/build/debian/initrd" /run/lab/debian-initrd
  # Host b may have been left without AVX2.
  run_guest debian debian-initrd 'root=/dev/vda rw' --cpus 2 --cpu x86-64-v2 \
    --virtio-console file=/run/lab/hvc
}

# in_guest SECONDS COMMAND...: a line of shell in the guest, by the network; its status is that of
# the line.
in_guest() {
  local seconds=$1 said
  shift
  said=$(in_network timeout "$seconds" bash -c \
    'exec 3<>"/dev/tcp/$1/9" && printf "%s\n" "$2" >&3 && cat <&3' shell "$DEBIAN_ADDRESS" "$*") ||
    return
  printf '%s\n' "$said" | sed '$d'
  [ "${said##*status=}" = 0 ]
}

# start_caller: it calls from now on; finish_caller says what it saw.
start_caller() {
  g++ -std=c++20 -O2 "$GODWIT_ROOT/tests/lab/caller.cc" -o "$LAB/caller" || return
  start_process caller nsenter --net="/proc/$(pid_of net)/ns/net" -- \
    "$LAB/caller" "$DEBIAN_ADDRESS" 7 "$GUEST_DIR/calls" 100
  local i
  for ((i = 0; i < 100; i++)); do
    [ -s "$GUEST_DIR/calls" ] && return
    process_runs caller || break
    sleep 0.1
  done
  cat "$LAB/caller.log"
  return 1
}
finish_caller() {
  stop_process caller
  tail -n 1 "$LAB/caller.log"
  grep -q '^messages=.* lost=0 ' "$LAB/caller.log"
}

# worst_call FROM TO: the longest time between answers from one moment to another (us since 1970).
worst_call() {
  awk -v from="$1" -v to="$2" '$2 >= from && $2 <= to && $3 > worst { worst = $3 }
    END { printf "%d", worst }' "$GUEST_DIR/calls"
}

now_us() { printf '%s' $(($(date +%s%N) / 1000)); }

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

records_right() { in_guest 60 'scribe check /var/lib/records'; }
# Not all warnings: the emulated hosts have their own (XSAVE sizes, an hrtimer that came late).
dmesg_quiet() {
  in_guest 30 '! dmesg -l emerg,alert,crit,err,warn | grep -iE "lockup|clocksource.*unstable|i/o error|hung task|rcu.*stall|virtio|blk_update|ext4-fs (error|warning)|bug:|oops|nobody cared"'
}

# power_off: by the button; what the disk holds then.
debian_ends() {
  run_quietly "$GUEST_HOST" 120 "godwit stop --timeout 90s $GUEST_NAME" || return
  stop_process nbd
  e2fsck -fn "$GUEST_DIR/disk" 2>&1 | tail -n 1
  [ "${PIPESTATUS[0]}" -eq 0 ]
}

# test_debian: with no guest in the lab.
test_debian() {
  if ! debian_disk "$GODWIT_ROOT/build/debian"; then
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
