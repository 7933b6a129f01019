# shellcheck shell=bash
# The stages of tools/test that ration their time: tidy and fuzz. Uses its variables: filter, jobs,
# fuzz_seconds.

# What clang-tidy's verdict on a file depends on besides the file: roughly, and on the safe side.
tidy_context() {
  { sources '*.h' '*.clang-tidy' | xargs -0 -r cat; "$1" --version; } | sha256sum | cut -c1-32
}

# tidy_one TOOL CONTEXT FILE: leaves a stamp in build/tidy when the file passes. The path-sensitive
# analyzer stays away from coroutines, which version 14 does not understand (it sees null pointers
# in every one), and from tests, whose macros take it eight times as long as all other checks.
tidy_one() {
  local stamp checks=() file=$3
  stamp=build/tidy/$({ printf '%s\n' "$2" "$file"; cat "$file"; } | sha256sum | cut -c1-32)
  if [[ $file == tests/* ]] || grep -Eq 'awaitable|co_await|co_return' "$file"; then
    checks=(--checks=-clang-analyzer-*)
  fi
  if [ -e "$stamp" ] ||
    { "$1" -p build/release --quiet --extra-arg=-Wno-error "${checks[@]}" "$file" \
      2>/dev/null >"$stamp.$$" && mv "$stamp.$$" "$stamp"; }; then
    printf 'tidy-passed %s\n' "$file"
    return
  fi
  cat "$stamp.$$"
  rm -f "$stamp.$$"
  printf 'tidy-failed %s\n' "$file"
}

stage_tidy() {
  local tool context total log=$LOGS/tidy.log
  if ! tool=$(find_clang_tool clang-tidy); then
    skip
    note 'clang-tidy 14 is not installed'
    return
  fi
  mkdir -p build/tidy
  context=$(tidy_context "$tool")
  total=$(sources '*.cc' | tr -dc '\0' | wc -c)
  sources '*.cc' >"$TMPDIR/tidy-files"
  export -f tidy_one
  bounded "${GODWIT_TIDY_SECONDS:-1500}" "$log" xargs -0 -n 1 -P "$jobs" -a "$TMPDIR/tidy-files" \
    bash -c 'tidy_one "$@"' tidy "$tool" "$context" || true
  pass "$(grep -c '^tidy-passed ' "$log" || true)"
  fail "$(grep -c '^tidy-failed ' "$log" || true)"
  skip $((total - stage_passed - stage_failed))
  [ "$stage_skipped" -eq 0 ] || note "$stage_skipped files not reached in time"
  [ "$stage_failed" -eq 0 ] || grep -E 'error:|^tidy-failed' "$log" | sort -u | head -n 100
}

# fuzz_one SECONDS NAME: from the corpus in build/ and the seeds of the tree.
fuzz_one() {
  local seconds=$1 name=$2 corpus=build/fuzz/corpus/$2 seeds=tests/fuzz/corpus/${2%_fuzz}
  local folders=("$corpus")
  mkdir -p "$corpus" build/fuzz/crashes
  : >"build/logs/$name.log"
  [ ! -d "$seeds" ] || folders+=("$seeds")
  if "build/fuzz/bin/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="build/fuzz/crashes/$name-" -verbosity=0 -print_final_stats=1 \
    "${folders[@]}" >"build/logs/$name.log" 2>&1; then
    printf 'fuzz-passed %s %s\n' "$name" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "build/logs/$name.log")"
  else
    printf 'fuzz-failed %s\n' "$name"
  fi
}

stage_fuzz() {
  local source name names=() log=$LOGS/fuzz.log
  if ! probe_fuzzer >/dev/null 2>&1; then
    skip
    note 'clang with libFuzzer is not installed'
    return
  fi
  for source in tests/fuzz/*_fuzz.cc; do
    name=$(basename "$source" .cc)
    if [ -e "$source" ] && matches_filter "$name"; then names+=("$name"); fi
  done
  if [ ${#names[@]} -eq 0 ]; then
    note 'no fuzz target'
    return
  fi
  build_preset fuzz "$log" "${names[@]}" || build_failed "$log"
  export -f fuzz_one
  printf '%s\0' "${names[@]}" >"$TMPDIR/fuzz-names"
  bounded $((fuzz_seconds * ${#names[@]} + 300)) "$log" xargs -0 -n 1 -P "$jobs" \
    -a "$TMPDIR/fuzz-names" bash -c 'fuzz_one "$@"' fuzz "$fuzz_seconds" || true
  for name in "${names[@]}"; do
    if grep -q "^fuzz-passed $name " "$log"; then
      pass
    else
      fail
      note "$name"
      show_log "build/logs/$name.log" 60
    fi
  done
  sed -n 's/^fuzz-passed \(.*\) \(.*\)/  \1: \2 inputs/p' "$log"
}
