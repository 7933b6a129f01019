# shellcheck shell=bash
# The stages of tools/test. Uses its variables: filter, jobs, fuzz_seconds.

# The folders whose code shares data between threads: what ThreadSanitizer is to see.
TSAN_AREAS=(base migration transport sim engine vmm devices kvm block net virtio)

# --- what the stages stand on

probe_kvm() {
  local reason
  kvm_usable=false
  mkdir -p build/probe
  if reason=$(g++ -std=c++20 tools/lib/kvm_usable.cc -o build/probe/kvm_usable 2>&1 &&
    build/probe/kvm_usable 2>&1); then
    kvm_usable=true
    export GODWIT_REQUIRE_KVM=1
    printf 'KVM works here: tests that need it may not skip\n'
  else
    printf 'KVM does not work here (%s): tests that need it skip\n' "$reason"
  fi
}

find_test_kernel() {
  local kernel
  if [ -n "${GODWIT_TEST_KERNEL:-}" ]; then return; fi
  if [ ! -r build/kernel/bzImage ] && has_apt; then
    bounded 300 "$LOGS/kernel.log" \
      bash -c '. tools/lib/kernel.sh && fetch_kernel build/kernel' || true
  fi
  for kernel in "$GODWIT_ROOT/build/kernel/bzImage" /boot/vmlinuz-*; do
    if [ -r "$kernel" ]; then
      export GODWIT_TEST_KERNEL=$kernel
      return
    fi
  done
  printf 'no Linux kernel could be had: the tests that load one skip\n'
}

# build_preset PRESET LOG [TARGET...]: configures and builds. A target that does not compile does
# not keep the others from being built.
build_preset() {
  local preset=$1 log=$2 targets=()
  shift 2
  [ $# -eq 0 ] || targets=(--target "$@")
  bounded 600 "$log" bash -c '. tools/lib/setup.sh && configure_build "$1"' configure "$preset" &&
    bounded 5400 "$log" cmake --build "build/$preset" -j "$jobs" "${targets[@]}" -- -k 0
}

# Counts it; what was built is tested all the same.
build_failed() {
  fail
  note "does not build: build/logs/${1##*/}"
  show_log "$1"
}

# run_ctest PRESET LOG [CTEST-OPTION...]: the counts come from its JUnit report.
run_ctest() {
  local preset=$1 log=$2 report=$GODWIT_ROOT/build/logs/$1.junit.xml status=0 total failed skipped
  local not_run
  shift 2
  rm -f "$report"
  bounded 5400 "$log" ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure \
    --no-tests=error --output-junit "$report" ${filter:+-R "$filter"} "$@" || status=$?
  total=$(junit_count "$report" tests)
  failed=$(junit_count "$report" failures)
  skipped=$(($(junit_count "$report" skipped) + $(junit_count "$report" disabled)))
  # JUnit calls a test skipped that could not even be started; ctest and we call it failed.
  not_run=$(sed -n 's/.* tests passed, \([0-9]*\) tests\{0,1\} failed out of .*/\1/p' "$log" | tail -n 1)
  not_run=$((${not_run:-failed} - failed))
  failed=$((failed + not_run))
  skipped=$((skipped - not_run))
  if [ $status -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1 total=$((total + 1)); fi
  pass $((total - failed - skipped))
  fail "$failed"
  skip "$skipped"
  if [ "$skipped" -gt 0 ]; then
    printf 'skipped:\n'
    sed -n '/^The following tests did not run:/,/^$/{s/^\t *[0-9]* - /  /p}' "$log" | head -n 40
  fi
  [ $status -eq 0 ] || show_failed_tests "$log"
}

# What ctest said, without the tests that passed.
show_failed_tests() {
  grep -vE '^ *Start +[0-9]+: |(Passed|\*\*\*Skipped) +[0-9.]+ sec$' "$1" >"$TMPDIR/failed" || true
  show_log "$TMPDIR/failed" 300
}

# junit_count FILE ATTRIBUTE: of the first element that has it, the suite; 0 without a report.
junit_count() {
  local count=
  [ ! -r "$1" ] || count=$(grep -o -m 1 "\b$2=\"[0-9]*\"" "$1" | head -n 1 | tr -dc '0-9')
  printf '%s' "${count:-0}"
}

sources() {
  find bench devices migration tests tools vmm -type f -name "$1" -print0 | sort -z
}

matches_filter() { [ -z "$filter" ] || [[ $1 =~ $filter ]]; }

# --- the stages

stage_build() {
  if build_preset release "$LOGS/build.log"; then pass; else build_failed "$LOGS/build.log"; fi
}

stage_unit() { run_ctest release "$LOGS/unit.log"; }

stage_format() {
  local tool
  if ! tool=$(find_clang_tool clang-format); then
    skip
    note 'clang-format 14 is not installed'
  elif { sources '*.cc'; sources '*.h'; } |
    xargs -0 -r -n 50 "$tool" --dry-run -Werror >"$LOGS/format.log" 2>&1; then
    pass
  else
    fail
    note 'run clang-format -i on the files named above'
    grep -E 'error:' "$LOGS/format.log" | sed 's/:.*//' | sort | uniq -c
  fi
}

stage_asan() {
  export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
  export UBSAN_OPTIONS=print_stacktrace=1
  build_preset asan "$LOGS/asan.log" || build_failed "$LOGS/asan.log"
  run_ctest asan "$LOGS/asan.log"
}

# The test binaries of the areas: what godwit_test() is called with there.
tsan_targets() {
  local area
  for area in "${TSAN_AREAS[@]}"; do
    [ -r "tests/$area/CMakeLists.txt" ] || continue
    sed -n 's/^ *godwit_test(\([A-Za-z0-9_]*\).*/\1/p' "tests/$area/CMakeLists.txt"
  done
}

stage_tsan() {
  local targets
  export TSAN_OPTIONS=second_deadlock_stack=1:suppressions=$GODWIT_ROOT/tools/lib/tsan.supp
  mapfile -t targets < <(tsan_targets)
  build_preset tsan "$LOGS/tsan.log" "${targets[@]}" || build_failed "$LOGS/tsan.log"
  run_ctest tsan "$LOGS/tsan.log" -L "^($(IFS='|' && printf '%s' "${targets[*]}"))\$"
}

stage_bench() {
  local binary name options
  for binary in build/release/bin/*_bench; do
    name=${binary##*/}
    { [ -x "$binary" ] && matches_filter "$name"; } || continue
    options=(--benchmark_min_time=0.001)
    [ "$name" != downtime_bench ] || options=(--quick --godwit build/release/bin/godwit)
    if [ "$name" = downtime_bench ] && ! $kvm_usable; then
      skip
      note "$name: KVM does not work here"
    elif bounded 300 "$LOGS/bench.log" "$binary" "${options[@]}"; then
      pass
    else
      fail
      note "$name failed"
      show_log "$LOGS/bench.log" 30
    fi
  done
  [ $((stage_passed + stage_failed + stage_skipped)) -gt 0 ] || note 'no benchmark was built'
}

stage_demo() {
  if [ ! -x tools/demo ]; then
    note 'there is no tools/demo'
  elif ! $kvm_usable; then
    skip
    note 'KVM does not work here'
  elif bounded 900 "$LOGS/demo.log" tools/demo --no-build; then
    pass
  else
    fail
    show_log "$LOGS/demo.log"
  fi
}

# Its own last line counts. The hosts are emulated: a busy machine makes minutes of it.
stage_lab() {
  local status=0 log=$LOGS/lab.log result
  : >"$log"
  bounded 3600 "$log" tools/lab test || status=$?
  result=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log")
  if [ $status -eq 2 ]; then
    skip
    note "the lab cannot run here: $(grep -m 1 -E '^lab: |^  [a-z]' "$log" || true)"
    return
  fi
  if [ -n "$result" ]; then
    # shellcheck disable=SC2086
    set -- $result
    pass "$1" && fail "$2" && skip "$3"
  fi
  grep -E '^(ok|FAILED|skipped|  move) ' "$log" || true
  if [ $status -ne 0 ]; then
    [ "$stage_failed" -gt 0 ] || fail
    show_log "$log"
  fi
}
