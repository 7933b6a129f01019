# shellcheck shell=bash
# The lab's network and its hosts: emulated machines with nested AMD-V. Sourced by tools/lab.
#
# What `up` was asked for is in UP_*; see usage.

# What QEMU 7.2's emulation has of an EPYC is enough for kvm_amd with nested paging; invtsc lets the
# hosts trust their clock.
LAB_CPU=EPYC,+svm,+npt,+invtsc

# cpu_model SPEC: features to add or leave out, or a model of its own.
cpu_model() {
  case $1 in
    '') printf '%s' "$LAB_CPU" ;;
    [+-]*) printf '%s,%s' "$LAB_CPU" "$1" ;;
    *) printf '%s,+svm,+npt,+invtsc' "$1" ;;
  esac
}

# find_godwit: the binary that the hosts get.
find_godwit() {
  LAB_GODWIT=${GODWIT_BINARY:-$GODWIT_ROOT/build/release/bin/godwit}
  [ -x "$LAB_GODWIT" ] || die "there is no $LAB_GODWIT: build it with
  cmake --preset release && cmake --build build/release --target godwit
or name another one in GODWIT_BINARY" 2
}

# find_host_kernel: the folder with the hosts' bzImage and modules is in HOST_KERNEL.
find_host_kernel() {
  if [ -n "$UP_KERNEL" ]; then
    HOST_KERNEL=$LAB/kernel
    unpack_kernel "$UP_KERNEL" "$HOST_KERNEL" || exit 1
    return
  fi
  HOST_KERNEL=$GODWIT_ROOT/build/kernel
  { [ -r "$HOST_KERNEL/bzImage" ] && [ -d "$HOST_KERNEL/modules" ]; } && return
  local advice='give a Debian linux-image package with --kernel'
  has_apt || die "there is no apt to fetch a kernel with: $advice" 2
  printf 'lab: fetching the kernel package of this distribution\n' >&2
  # shellcheck disable=SC2016
  timeout 300 bash -c '. "$1" && fetch_kernel "$2"' fetch "$GODWIT_ROOT/tools/lib/kernel.sh" \
    "$HOST_KERNEL" >&2 </dev/null || die "no kernel could be fetched: $advice" 2
}

# The hosts' kernels would misjudge their TSC on a busy machine, each differently.
measure_tsc() {
  local program=$LAB/tsc_khz
  if ! g++ -O2 -std=c++20 "$LAB_LIB/tsc_khz.cc" -o "$program" || ! TSC_KHZ=$("$program"); then
    die 'the frequency of the TSC could not be measured'
  fi
}

start_network() {
  local host waited=0
  start_process net unshare --net sleep infinity
  # Until unshare has done its work, its network is ours.
  until [ "$(readlink "/proc/$(pid_of net)/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do
    if ((waited++ >= 100)) || ! process_runs net; then
      die "no network namespace: $(cat "$LAB/net.log")"
    fi
    sleep 0.05
  done
  {
    in_network ip link set lo up &&
      in_network ip link add lab0 type bridge &&
      in_network ip address add "$(address_of client)/24" dev lab0 &&
      in_network ip link set lab0 up &&
      for host in "${LAB_HOSTS[@]}"; do
        in_network ip tuntap add dev "tap-$host" mode tap &&
          in_network ip link set "tap-$host" master lab0 &&
          in_network ip link set "tap-$host" up || return 1
      done
  } || die 'the network of the lab could not be made (a bridge and two taps)'
}

# netem_of: the impairment of what a host sends, for its kernel command line; empty for none.
netem_of() {
  local words=()
  [ -z "$UP_LATENCY" ] || words+=(delay "$UP_LATENCY")
  [ -z "$UP_RATE" ] || words+=(rate "$UP_RATE")
  [ -z "$UP_LOSS" ] || words+=(loss "$UP_LOSS")
  (IFS=, && printf '%s' "${words[*]}")
}

start_host() {
  local host=$1 cpu=$UP_CPU_A skew='' tsc=$TSC_KHZ mac=52:54:00:4c:41:0a netem append
  if [ "$host" = b ]; then
    cpu=$UP_CPU_B skew=$UP_CLOCK_SKEW mac=52:54:00:4c:41:0b
    # Without other timers the kernel cannot find out that it was told the wrong frequency.
    [ -z "$UP_TSC_B" ] || tsc="$((tsc + tsc * UP_TSC_B / 1000000)) hpet=disable pmtmr=0"
  fi
  netem=$(netem_of)
  append="console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable tsc_early_khz=$tsc"
  append+=" lab.host=$host lab.address=$(address_of "$host")"
  append+="${skew:+ lab.clock_skew=$skew}${netem:+ lab.netem=$netem}"
  rm -f "$LAB/$host.console" "$LAB/$host.monitor"
  printf '%s\n' "$cpu" >"$LAB/$host.cpu"
  # Files are named relative to the lab's folder: the name of a socket may have 107 bytes.
  start_process "$host" nsenter --net="/proc/$(pid_of net)/ns/net" -- \
    qemu-system-x86_64 -name "lab-$host" -nodefaults -no-user-config -display none -no-reboot \
    -machine pc -accel tcg,thread=multi,tb-size=256 -cpu "$(cpu_model "$cpu")" \
    -smp "$UP_CPUS" -m "$UP_MEMORY" -serial "file:$host.console" \
    -monitor "unix:$host.monitor,server=on,wait=off" -device virtio-rng-pci \
    -netdev "tap,id=net,ifname=tap-$host,script=no,downscript=no" \
    -device "virtio-net-pci,netdev=net,romfile=,mac=$mac" \
    -kernel "$HOST_KERNEL/bzImage" -initrd images/host.cpio -append "$append"
}

# wait_for_host HOST: until its agent answers. One with several CPUs, which may hang as its first VM
# comes, gets a second chance.
wait_for_host() {
  local host=$1 chances=1 limit=$((SECONDS + 120))
  [ "$UP_CPUS" -eq 1 ] || chances=2 limit=$((SECONDS + 45))
  until grep -aq "lab: host $host is up" "$LAB/$host.console" 2>/dev/null &&
    run_on "$host" no 10 true 2>/dev/null; do
    if ! process_runs "$host"; then
      show_host "$host"
      die "QEMU of host $host has ended"
    fi
    if [ $SECONDS -ge $limit ] && ((--chances > 0)); then
      printf 'lab: host %s hangs; starting it again\n' "$host" >&2
      stop_process "$host"
      start_host "$host"
      limit=$((SECONDS + 120))
    elif [ $SECONDS -ge $limit ]; then
      show_host "$host"
      die "host $host did not come up within 120 s"
    fi
    sleep 0.2
  done
  run_on "$host" no 10 'test -c /dev/kvm' ||
    die "host $host has no /dev/kvm; see $LAB/$host.console"
}

show_host() {
  {
    tail -n 15 "$LAB/$1.log" || true
    tail -n 15 "$LAB/$1.console" || true
  } 2>/dev/null >&2
}

# --- the commands

# Stops what was started when the rest fails, or when it is interrupted.
undo_on_failure() {
  trap '[ $? -eq 0 ] || { printf "lab: taking down what was started\n" >&2; stop_lab; }' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

# options_text: what the hosts were made from; read back with source.
options_text() {
  local name
  for name in UP_CPUS UP_MEMORY UP_CPU_A UP_CPU_B UP_LATENCY UP_RATE UP_LOSS UP_CLOCK_SKEW \
    UP_TSC_B UP_KERNEL; do
    printf '%s=%q\n' "$name" "${!name}"
  done
}

bring_up() {
  local host begin=$SECONDS
  lock_lab
  if is_up; then
    if $UP_WITH_OPTIONS && [ "$(grep '^UP_' "$LAB/options")" != "$(options_text)" ]; then
      die 'the lab is up already, with other options: tools/lab down first'
    fi
    printf 'lab: is up already\n'
    return
  fi
  find_godwit
  undo_on_failure
  stop_lab
  find_host_kernel
  measure_tsc
  mkdir -p "$LAB/images"
  make_host_image "$HOST_KERNEL" "$LAB/images/host.cpio"
  start_network
  for host in "${LAB_HOSTS[@]}"; do start_host "$host"; done
  for host in "${LAB_HOSTS[@]}"; do wait_for_host "$host"; done
  {
    options_text
    printf 'HOST_KERNEL=%q\nTSC_KHZ=%q\n' "$HOST_KERNEL" "$TSC_KHZ"
  } >"$LAB/options"
  printf 'lab: hosts a (%s) and b (%s) are up after %s s\n' "$(address_of a)" "$(address_of b)" \
    $((SECONDS - begin))
}

# restart_host HOST: as if its power failed; with what UP_* say now.
restart_host() {
  local host=$1
  stop_process "$host"
  start_host "$host"
  wait_for_host "$host"
}

load_options() {
  # shellcheck disable=SC1091
  . "$LAB/options"
}

print_status() {
  local host pid
  if ! is_up; then
    printf 'the lab is not up\n'
    return 1
  fi
  for host in "${LAB_HOSTS[@]}"; do
    if ! pid=$(pid_of "$host"); then
      printf '%s  %-10s is gone; see %s\n' "$host" "$(address_of "$host")" "$LAB/$host.console"
    elif ! run_on "$host" no 10 true 2>/dev/null; then
      printf '%s  %-10s pid %s, does not answer; see %s\n' "$host" "$(address_of "$host")" "$pid" \
        "$LAB/$host.console"
    else
      printf '%s  %-10s pid %s, cpu %s, %s\n' "$host" "$(address_of "$host")" "$pid" \
        "$(cpu_model "$(cat "$LAB/$host.cpu")")" "$(run_on "$host" no 10 "uptime | sed 's/^ *//'")"
    fi
  done
}
