# shellcheck shell=bash
# The stages of tools/test that ration their time: tidy and fuzz. Uses its variables: filter, jobs,
# fuzz_seconds.

# What clang-tidy's verdict on a file depends on besides the file: roughly, and on the safe side.
tidy_context() {
  { sources '*.h' '*.clang-tidy' | xargs -0 -r cat; "$1" --version; } | sha256sum | cut -c1-32
}

# tidy_analyzed FILE: whether the path-sensitive analyzer sees it. It stays away from coroutines,
# which version 14 does not understand (it sees null pointers in every one), and from tests, whose
# macros take it eight times as long as all other checks.
tidy_analyzed() {
  [[ $1 != tests/* ]] && ! grep -Eq 'awaitable|co_await|co_return' "$1"
}

# tidy_batches: files of one folder that take the same checks, twelve at most to a line.
tidy_batches() {
  local file kind
  sources '*.cc' | while read -r -d '' file; do
    kind=plain
    ! tidy_analyzed "$file" || kind=analyzed
    printf '%s %s %s\n' "${file%/*}" "$kind" "$file"
  done | sort | awk '
    $1 " " $2 != last || n == 12 { if (n) print line; line = ""; n = 0 }
    { last = $1 " " $2; line = line (n++ ? " " : "") $3 }
    END { if (n) print line }'
}

# tidy_unit UNIT FILE...: one source of several, and what compiles it. Most of the time goes into the
# headers that all of a folder include: they are read once. The analyzer looks at the main file
# alone, so the parts are in it, not included.
tidy_unit() {
  local unit=$1
  shift
  mkdir -p "$unit"
  cat "$@" >"$unit/unit.cc"
  # CMake's list has a line for each command, before that of its file.
  awk -v file="\"$GODWIT_ROOT/$1\"" -v unit="$unit/unit.cc" '
    /^ *"directory":/ { directory = $0 }
    /^ *"command":/ { command = $0 }
    /^ *"file":/ && (!found++ || index($0, file)) {
      sub(/ -o [^ ]* -c .*/, " -c " unit "\",", command)
      entry = directory "\n" command "\n  \"file\": \"" unit "\""
    }
    END { print "[{\n" entry "\n}]" }' build/release/compile_commands.json \
    >"$unit/compile_commands.json"
}

# tidy_files TOOL CONTEXT FILE...: leaves a stamp in build/tidy when they pass. Several are looked at
# as one; when that does not pass (each may have a name of its own for something else), in halves,
# so that the last word on a file is about the file alone.
tidy_files() {
  local tool=$1 context=$2 stamp source=$3 commands=build/release
  # Each part includes what it needs, so one header comes many times.
  local checks=-readability-duplicate-include
  shift 2
  tidy_analyzed "$1" || checks+=',-clang-analyzer-*'
  stamp=$GODWIT_ROOT/build/tidy/$({ printf '%s\n' "$context" "$@"; cat "$@"; } | sha256sum | cut -c1-32)
  if [ $# -gt 1 ]; then
    source=$stamp.unit/unit.cc commands=$stamp.unit
    # It lies elsewhere: what its folder wants comes along.
    [ ! -e "${1%/*}/.clang-tidy" ] || checks+=,$(sed -n 's/^Checks: //p' "${1%/*}/.clang-tidy")
  fi
  if [ ! -e "$stamp" ]; then
    [ $# -eq 1 ] || tidy_unit "$stamp.unit" "$@"
    if "$tool" -p "$commands" --quiet --extra-arg=-Wno-error "--checks=$checks" "$source" \
      2>/dev/null >"$stamp.said"; then
      mv "$stamp.said" "$stamp"
    elif [ $# -eq 1 ]; then
      cat "$stamp.said"
      printf 'tidy-failed %s\n' "$1"
      return
    else
      tidy_files "$tool" "$context" "${@:1:$# / 2}"
      tidy_files "$tool" "$context" "${@:$# / 2 + 1}"
      return
    fi
  fi
  printf 'tidy-passed %s\n' "$@"
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
  tidy_batches >"$TMPDIR/tidy-batches"
  export GODWIT_ROOT
  export -f tidy_files tidy_unit tidy_analyzed
  # shellcheck disable=SC2016
  bounded "${GODWIT_TIDY_SECONDS:-1500}" "$log" xargs -d '\n' -n 1 -P "$jobs" \
    -a "$TMPDIR/tidy-batches" bash -c 'tidy_files "$1" "$2" $3' tidy "$tool" "$context" || true
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
