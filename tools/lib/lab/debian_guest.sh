# shellcheck shell=bash
# A Debian guest with a disk over NBD and a network, for the demo and for the tests. Sourced by
# tools/lab.
#
# The client's side of it runs on this machine in the lab's network: the NBD server that both hosts
# reach, and a caller that holds a TCP connection to the guest.
# shellcheck disable=SC2034 # what is set here, other parts use

DEBIAN_ADDRESS=10.77.1.10
DEBIAN_MAC=52:54:00:4c:41:10

# start_disk_server: the guest's disk, for both hosts.
start_disk_server() {
  rm -f "$GUEST_DIR/disk"
  cp --sparse=always "$DEBIAN_DISK/disk" "$GUEST_DIR/disk" || return
  start_process nbd nsenter --net="/proc/$(pid_of net)/ns/net" -- \
    nbdkit --foreground --ipaddr "$(address_of client)" --port 10809 file "$GUEST_DIR/disk"
}

# add_tap HOST [multi_queue]: the guest's place in the network there.
add_tap() {
  # The shell there would take its own ip, which knows no taps.
  run_quietly "$1" 20 "ip=/usr/sbin/ip; \$ip link show guest0 >/dev/null 2>&1 && exit 0
    \$ip tuntap add guest0 mode tap ${2:-} && \$ip link set guest0 master br0 &&
    \$ip link set guest0 up"
}

# boot_debian [FORMAT [KERNEL]]: on host a, with a disk that is as it was made; FORMAT is bzimage or
# vmlinux, KERNEL is cloud or ordinary. DEBIAN_DEVICES: what it has beside its disk and network.
boot_debian() {
  local host suffix='' kernel
  GUEST_MEMORY=384M GUEST_PATIENCE=240
  # Its initrd has more in it.
  [ "${2:-cloud}" = cloud ] || suffix=-ordinary GUEST_MEMORY=512M GUEST_PATIENCE=900
  kernel=$DEBIAN_DISK/vmlinuz$suffix
  GUEST_DEVICES="--disk nbd=nbd://$(address_of client):10809/ --net tap=guest0,mac=$DEBIAN_MAC,queues=2"
  GUEST_DEVICES+=" ${DEBIAN_DEVICES:---rng --balloon}"
  for host in "${LAB_HOSTS[@]}"; do add_tap "$host" multi_queue || return; done
  start_disk_server || return
  if [ "${1:-bzimage}" = vmlinux ]; then
    kernel=$GUEST_DIR/debian-vmlinux
    extract_vmlinux "$DEBIAN_DISK/vmlinuz$suffix" "$kernel" || return
  fi
  put_file a "$kernel" /run/lab/debian
  put_file a "$DEBIAN_DISK/initrd$suffix" /run/lab/debian-initrd
  # Host b may have been left without AVX2.
  run_guest debian debian-initrd 'root=/dev/vda rw' --cpus 2 --cpu x86-64-v2 \
    --virtio-console file=/run/lab/hvc
}

# in_guest SECONDS COMMAND...: shell in the guest, by the network; its status is that of the last
# command. Lines are joined to one.
in_guest() {
  local seconds=$1 said
  shift
  # shellcheck disable=SC2016
  said=$(in_network timeout "$seconds" bash -c \
    'exec 3<>"/dev/tcp/$1/9" && printf "%s\n" "$2" >&3 && cat <&3' shell "$DEBIAN_ADDRESS" \
    "${*//$'\n'/ }") || return
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

# calls FROM TO: how many were answered from one moment to another (us since 1970), and the longest
# time between two answers (us).
calls() {
  awk -v from="$1" -v to="$2" '$2 >= from && $2 <= to { ++n; if ($3 > worst) worst = $3 }
    END { printf "%d %d\n", n, worst }' "$GUEST_DIR/calls"
}
worst_call() { calls "$@" | cut -d' ' -f2; }

now_us() { printf '%s' $(($(date +%s%N) / 1000)); }

records_right() { in_guest 60 'scribe check /var/lib/records'; }

# Not all warnings: the emulated hosts have their own (XSAVE sizes, an hrtimer that came late).
dmesg_quiet() {
  in_guest 30 '! dmesg -l emerg,alert,crit,err,warn | grep -iE "lockup|clocksource.*unstable|i/o error|hung task|rcu.*stall|virtio|blk_update|ext4-fs (error|warning)|bug:|oops|nobody cared"'
}

# debian_ends: it powers off by its button; what the disk holds then.
debian_ends() {
  run_quietly "$GUEST_HOST" 120 "godwit stop --timeout 90s $GUEST_NAME" || return
  stop_process nbd
  e2fsck -fn "$GUEST_DIR/disk" 2>&1 | tail -n 1
  [ "${PIPESTATUS[0]}" -eq 0 ]
}

# drop_debian: whatever is left of it, in a lab that stays.
drop_debian() {
  local host
  for host in "${LAB_HOSTS[@]}"; do
    run_on "$host" no 60 "godwit stop --now $GUEST_NAME; /usr/sbin/ip link delete guest0" || true
  done >/dev/null 2>&1
  stop_process caller
  stop_process nbd
}
