# shellcheck shell=bash
# tools/lab test: what must hold when a Linux guest moves between two hosts. Sourced by tools/lab.

test_passed=0 test_failed=0 test_skipped=0

# check WHAT COMMAND...: a line for each check, with what the command printed.
check() {
  local what=$1 status=0 said
  shift
  # Not in a subshell: it may change what we know of the guest.
  "$@" >"$GUEST_DIR/said" || status=$?
  said=$(cat "$GUEST_DIR/said")
  if [ $status -eq 0 ]; then
    printf 'ok      %s%s\n' "$what" "${said:+ ($said)}"
    test_passed=$((test_passed + 1))
  else
    printf 'FAILED  %s%s\n' "$what" "${said:+: $said}"
    test_failed=$((test_failed + 1))
    return 1
  fi
}

# skip_checks COUNT WHY
skip_checks() {
  printf 'skipped %s checks: %s\n' "$1" "$2"
  test_skipped=$((test_skipped + $1))
}

# is_zero NAME...: of the console's values.
is_zero() {
  local name faults=()
  for name in "$@"; do
    [ "$(console_value "$name")" = 0 ] || faults+=("$name=$(console_value "$name")")
  done
  [ ${#faults[@]} -eq 0 ] && return
  printf '%s\n' "${faults[*]}"
  grep -vE '^(move|lines)=' "$GUEST_DIR/checked" | head -n 5
  return 1
}

all_lines() { is_zero lost repeated strange && printf '%s lines' "$(console_value lines)"; }
clocks_forward() { is_zero mono_back real_back clock_back; }
pages_right() { is_zero bad && printf '%s checked' "$(console_value checked)"; }
kernel_quiet() { is_zero kernel; }

# The guest's two clocks against each other, over all of its moves.
realtime_steady() {
  printf '%s ms' $(($(console_value drift) / 1000))
  [ "$(console_value drift)" -lt 100000 ]
}

# memory_equal FIRST LAST: godwit's hash of all guest memory, in the reports of those moves.
memory_equal() {
  local i
  for ((i = $1; i <= $2; i++)); do
    grep -q '^ *memory *identical:' "$GUEST_DIR/move.$i" && continue
    printf 'move %s: %s' "$i" "$(grep '^ *memory ' "$GUEST_DIR/move.$i" | tail -n 1)"
    return 1
  done
}

# clock_kept FIRST LAST US: no move made the guest's clock leap against this machine's by more.
clock_kept() {
  local i leap worst=0
  for ((i = $1; i <= $2; i++)); do
    leap=${GUEST_LEAPS[i - 1]}
    if [ "${leap#-}" -gt "${worst#-}" ]; then worst=$leap; fi
  done
  printf 'at most %s s' "$(seconds_of "$worst")"
  [ "${worst#-}" -le "$3" ]
}

gaps_text() {
  local i
  for ((i = 1; i < GUEST_CONSOLES; i++)); do
    printf '  move %s: the guest stood still for %s s, godwit says %s\n' "$i" \
      "$(seconds_of "$(move_value "$i" gap)")" \
      "$(sed -n 's/.* runs at the target: downtime \([^,]*\),.*/\1/p' "$GUEST_DIR/move.$i")"
  done
}

moves_well() {
  local i
  for ((i = 0; i < $1; i++)); do move_guest || return; done
}

# guest_says TEXT: in its first words, those before pulse begins.
guest_says() {
  local line
  line=$(run_on a no 20 "grep -a '^guest: Linux' /run/lab/console.0 | tr -d '\r'")
  printf '%s' "${line#guest: }"
  [[ $line == *$1* ]]
}

firmware_good() {
  run_on a no 20 "! grep -a '^guest: firmware:' /run/lab/console.0"
}

# stops_by_button: `godwit stop` has the guest go down by itself.
stops_by_button() {
  local said n=$((GUEST_CONSOLES - 1))
  said=$(run_on "$GUEST_HOST" no 90 "godwit stop --timeout 60s $GUEST_NAME 2>&1
    wait=40; until [ -s /run/lab/status.$n ] || [ \$((wait -= 1)) -eq 0 ]; do sleep 0.25; done
    tail -n 4 /run/lab/console.$n; tail -n 1 /run/lab/vmm.$n; echo status \$(cat /run/lab/status.$n)")
  [[ $said == *'has powered itself off'* && $said == *'guest: the power button was pressed'* &&
    $said == *'the guest powered off'* && $said == *'status 0' ]] && return
  printf '%s' "$said"
  return 1
}

# How far b's wall clock is ahead: much more than a busy machine could make it seem.
TEST_SKEW=60
set_skew() { run_quietly b 20 "date -s @\$((\$(date +%s) + $1))"; }

# test_bzimage: two moves between hosts whose clocks agree, two between hosts whose clocks don't.
test_bzimage() {
  check 'a bzImage boots on host a' boot_guest bzimage --cpus 2 || return 0
  check 'with both CPUs, in x2APIC mode' guest_says ' 2 CPUs, x2APIC,' || true
  check 'it finds nothing wrong with its ACPI tables' firmware_good || true
  moves_well 2 || { check 'it moves to b and back' false; return 0; }
  set_skew $TEST_SKEW
  moves_well 2 || { check 'it moves to b and back, between clocks that differ' false; return 0; }
  set_skew -$TEST_SKEW
  check 'the console can be read' check_console || return 0
  gaps_text
  check 'four moves: no line of the console lost, repeated or garbled' all_lines
  check 'no clock of the guest went back' clocks_forward
  check 'CLOCK_REALTIME stays within 100 ms of CLOCK_MONOTONIC' realtime_steady
  check 'the guest finds all its pages as it wrote them' pages_right
  check 'the guest kernel has nothing to warn of' kernel_quiet
  check 'hashes of all guest memory are equal' memory_equal 1 4
  check 'the guest clock keeps time through moves' clock_kept 1 2 5000000
  check "also with b's wall clock $TEST_SKEW s ahead" clock_kept 3 4 5000000
}

# test_vmlinux: to the host without AVX2, with a CPU that has none.
test_vmlinux() {
  check 'a vmlinux boots on host a (PVH), with 8 CPUs' boot_guest vmlinux --cpus 8 \
    --cpu x86-64-v2 || return 0
  check 'all of which come up' guest_says ' 8 CPUs, x2APIC,' || true
  moves_well 1 || { check 'it moves to host b, which has no AVX2' false; return 0; }
  check 'the console can be read' check_console || return 0
  gaps_text
  check 'one move: no line of the console lost, repeated or garbled' all_lines
  check 'no clock of the guest went back' clocks_forward
  check 'the guest finds all its pages as it wrote them' pages_right
  check 'the guest kernel has nothing to warn of' kernel_quiet
  check 'hashes of all guest memory are equal' memory_equal 1 1
}

# made_baseline: /run/lab/baseline.json on host a, of both hosts; it leaves AVX2 out and says so.
made_baseline() {
  local host
  for host in "${LAB_HOSTS[@]}"; do
    run_on "$host" no 60 'godwit check --json' >"$GUEST_DIR/$host.json" || return
  done
  if ! (cd "$GUEST_DIR" && "$LAB_GODWIT" cpu-baseline a.json b.json --output baseline.json) \
    2>"$GUEST_DIR/left-out" ||
    ! grep -q '^a.json: .*\bavx2\b.* left out: b.json lacks' "$GUEST_DIR/left-out"; then
    cat "$GUEST_DIR/left-out"
    return 1
  fi
  put_file a "$GUEST_DIR/baseline.json" /run/lab/baseline.json
}

# A guest with AVX, which both hosts have, goes to the one without AVX2 and back.
test_baseline() {
  check 'a CPU baseline of both hosts leaves out AVX2' made_baseline || return 0
  check 'a guest boots on host a with the baseline' \
    boot_guest bzimage --cpu baseline=/run/lab/baseline.json || return 0
  moves_well 2 || { check 'it moves to host b, which has no AVX2, and back' false; return 0; }
  check 'the console can be read' check_console || return 0
  gaps_text
  check 'two moves: no line of the console lost, repeated or garbled' all_lines
  check 'the guest finds all its pages as it wrote them' pages_right
  check 'the guest kernel has nothing to warn of' kernel_quiet
  check 'hashes of all guest memory are equal' memory_equal 1 2
}

# reboots: the guest comes up again and again, in the same VMM and with the same console.
reboots() {
  local said
  wait_in a 120 /run/lab/console.0 "^guest: Linux .* 2 CPUs, x2APIC," 3 || return
  said=$(run_on a no 20 "grep -c ' reboots$' /run/lab/vmm.0; grep -ac '^guest: it reboots' \
    /run/lab/console.0; godwit list | grep -c '^$GUEST_NAME .*running'" | paste -s -d ' ')
  printf '%s reboots' "${said%% *}"
  [[ $said =~ ^([2-9])\ [2-9]\ 1$ ]]
}

# test_reboot: on host a, where no guest runs.
# shellcheck disable=SC2034 # GUEST_WORDS is of guest.sh
test_reboot() {
  GUEST_WORDS=lab.reboot=5
  check 'a guest that is to reboot boots' boot_guest bzimage --cpus 2 || { GUEST_WORDS=; return 0; }
  GUEST_WORDS=
  check 'it reboots in place, with both CPUs' reboots || true
  stop_guest || true
}

lab_test() {
  local begin=$SECONDS
  # One of its own, so that it leaves alone what somebody has up.
  LAB=$LAB-test GUEST_DIR=$LAB/guest
  lock_lab
  stop_lab
  default_options
  bring_up
  trap 'stop_lab' EXIT
  prepare_guests
  check 'the checker of consoles finds faults' "$GODWIT_ROOT/tests/lab/console_test.sh" || true
  # What fails in them is counted and does not end us.
  test_bzimage || true
  if [ "${GUEST_CONSOLES:-0}" -eq 5 ]; then
    test_cpu || true
    check 'godwit stop: its power button has the guest power itself off' stops_by_button || true
    test_refusals || true
    stop_guest || true
    test_vmlinux || true
    stop_guest || true
    test_baseline || true
    stop_guest || true
    test_reboot || true
  else
    skip_checks 30 'the first guest is not back on host a'
  fi
  # One that is still there, if something went wrong.
  stop_guest >/dev/null 2>&1 || true
  test_with_debian
  printf 'the lab took %s s\n%s passed, %s failed, %s skipped\n' $((SECONDS - begin)) \
    "$test_passed" "$test_failed" "$test_skipped"
  [ $test_failed -eq 0 ]
}
