# shellcheck shell=bash
# Hosts that cannot take a guest: each says why by name, before the first page, and the guest goes
# on where it is. A part of tools/lab test. Sourced by tools/lab.
# shellcheck disable=SC2034 # what is set here, other parts use

# goes_on: the guest on host a has more to say than it said until now.
goes_on() {
  local lines console=/run/lab/console.$((GUEST_CONSOLES - 1))
  lines=$(run_on a no 20 "grep -ac '^seq=' $console")
  wait_in a 30 "$console" '^seq=' $((lines + 10)) && return
  printf 'the guest does not go on'
  return 1
}

# refuses REASON [OPTION]...: host b, whose godwit receive has the options, refuses the guest of
# host a, before any page moves.
refuses() {
  local reason=$1 said status=0
  shift
  local GUEST_DEVICES=$*
  start_receiver b || return
  said=$(run_on a no 60 "godwit migrate $GUEST_NAME tcp://b:7000 --tls-dir /run/lab/tls --json" \
    2>/dev/null) || status=$?
  run_quietly b 30 "godwit stop $GUEST_NAME" || return
  if [ $status -ne 4 ] || [[ $said != *"$reason"* ]] || [[ $said != *'"transferred":0,'* ]]; then
    printf 'status %s: %s' "$status" "$said"
    return 1
  fi
  goes_on
}

# cannot_receive REASON [OPTION]...: godwit receive on host b ends with it at once.
cannot_receive() {
  local reason=$1 said status=0
  shift
  said=$(run_on b no 30 "godwit receive --name $GUEST_NAME --listen tcp://0.0.0.0:7000 \
    --tls-dir /run/lab/tls --serial null $* 2>&1") || status=$?
  if [ $status -ne 1 ] || [[ $said != *"$reason"* ]]; then
    printf 'status %s: %s' "$status" "$said"
    return 1
  fi
  goes_on
}

# test_cpu: with a guest on host a that has seen all of its CPU. Leaves b without AVX2.
test_cpu() {
  UP_CPU_B=-avx2 UP_TSC_B=1000
  (restart_host b) || { check 'host b restarts with another CPU' false; return 0; }
  UP_TSC_B=
  put_file b "$GUEST_DIR/tls" /run/lab/tls
  check 'a guest with AVX2 is refused by a host without, by name and before any page moves' \
    refuses 'CPU feature avx2 ' || true
  check 'and because of a TSC that is 1000 ppm faster' \
    refuses 'TSC frequency: the guest has' || true
  (restart_host b) || { check 'host b restarts without AVX2' false; return 0; }
  put_file b "$GUEST_DIR/tls" /run/lab/tls
}

REFUSED_DISK='--disk path=/run/lab/own.img'
REFUSED_TAP='--net tap=own0'

# boot_with_own: a guest with a local disk and a tap, which are on both hosts.
boot_with_own() {
  local host GUEST_MEMORY=768M GUEST_DEVICES="$REFUSED_DISK $REFUSED_TAP"
  for host in "${LAB_HOSTS[@]}"; do
    run_quietly "$host" 20 'truncate -s 16M /run/lab/own.img
      /usr/sbin/ip tuntap add own0 mode tap' || return
  done
  # Host b was left without AVX2.
  boot_guest bzimage --cpu x86-64-v2
}

# Another VMM on host b has the disk.
refuses_locked_disk() {
  local status=0
  run_quietly b 30 "setsid godwit run --name other --memory 16M --kernel builtin:workload \
    --cmdline 'ws=1M rate=1' --serial null $REFUSED_DISK >/run/lab/other.log 2>&1 </dev/null &
    for i in \$(seq 80); do godwit list | grep -q '^other .*running' && exit 0; sleep 0.25; done
    cat /run/lab/other.log; exit 1" || return
  refuses '/run/lab/own.img is in use by another VMM (held by process' "$REFUSED_DISK" "$REFUSED_TAP" ||
    status=$?
  run_quietly b 30 'godwit stop --now other' || return
  return $status
}

# Too little memory is left on host b: a file in memory has it.
refuses_without_memory() {
  local status=0
  run_quietly b 60 "left=\$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    dd if=/dev/zero of=/tmp/fill bs=1M count=\$((left / 1024 - 600)) 2>&1" || return
  refuses '768 MiB of guest memory are more than the ' "$REFUSED_DISK,lock=off" "$REFUSED_TAP" ||
    status=$?
  run_quietly b 20 'rm /tmp/fill' || return
  return $status
}

# test_refusals: with no guest in the lab.
test_refusals() {
  check 'a guest with a local disk and a tap boots on host a' boot_with_own || return 0
  check 'it is refused by a target that is given no disk' \
    refuses "give it to \`godwit receive\` with --disk" "$REFUSED_TAP" || true
  check 'by one whose disk is not there' \
    cannot_receive '/run/lab/missing.img' '--disk path=/run/lab/missing.img' "$REFUSED_TAP" || true
  check "by one whose tap is not there" \
    cannot_receive "network interface 'missing0' does not exist" "$REFUSED_DISK" \
    '--net tap=missing0' || true
  check 'by one where another VMM has the disk' refuses_locked_disk || true
  check 'by one whose disk is another file than its own' \
    refuses 'this is another file than the source' "$REFUSED_DISK" "$REFUSED_TAP" || true
  check 'by one with too little memory' refuses_without_memory || true
  check 'the console can be read' check_console || return 0
  check 'no line of the console lost, repeated or garbled' all_lines
  check 'the guest finds all its pages as it wrote them' pages_right
}
