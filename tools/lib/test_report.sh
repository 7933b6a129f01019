# shellcheck shell=bash
# The frame of tools/test: stages with their time and result, bounded commands, the summary.
# A stage is a function stage_NAME that calls pass, fail and skip for what it counted and note for
# its result line; it needs no particular status.

LOGS=$GODWIT_ROOT/build/logs
total_passed=0 total_failed=0 total_skipped=0
stage_passed=0 stage_failed=0 stage_skipped=0 stage_note=
table=()
child=

heading() { printf '\n== %s\n' "$1"; }
pass() { stage_passed=$((stage_passed + ${1:-1})); }
fail() { stage_failed=$((stage_failed + ${1:-1})); }
skip() { stage_skipped=$((stage_skipped + ${1:-1})); }
note() { stage_note=${stage_note:+$stage_note; }$1; }

# bounded SECONDS LOG COMMAND...: appends its output to LOG. A command that hangs is killed with all
# that it started; so is it when this script is interrupted.
bounded() {
  local seconds=$1 log=$2 status=0
  shift 2
  printf '$ %s\n' "$*" >>"$log"
  timeout --kill-after=20 "$seconds" "$@" >>"$log" 2>&1 </dev/null &
  child=$!
  wait "$child" || status=$?
  child=
  [ $status -ne 124 ] || printf 'killed: not done after %s s\n' "$seconds" >>"$log"
  return $status
}

# The end of a log, for who cannot look at the file.
show_log() {
  printf -- '-- the end of %s\n' "${1##*/}"
  tail -n "${2:-80}" "$1"
  printf -- '--\n'
}

minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

run_stage() {
  local name=$1 begin=$SECONDS result
  stage_passed=0 stage_failed=0 stage_skipped=0 stage_note=
  heading "$name"
  : >"$LOGS/$name.log"
  "stage_$name" || true
  result="$stage_passed passed, $stage_failed failed, $stage_skipped skipped"
  total_passed=$((total_passed + stage_passed))
  total_failed=$((total_failed + stage_failed))
  total_skipped=$((total_skipped + stage_skipped))
  table+=("$(printf '%-8s %6s  %-36s %s' "$name" "$(minutes $((SECONDS - begin)))" "$result" \
    "$stage_note")")
  printf '%s in %s: %s%s\n' "$name" "$(minutes $((SECONDS - begin)))" "$result" \
    "${stage_note:+ ($stage_note)}"
}

clean_up() {
  if [ -n "$child" ]; then
    kill "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  rm -rf "$TMPDIR"
}

print_summary() {
  heading summary
  printf '%s\n' "${table[@]}"
  printf 'all of it took %s\n\n' "$(minutes "$SECONDS")"
  printf '%d passed, %d failed, %d skipped\n' "$total_passed" "$total_failed" "$total_skipped"
  [ "$total_failed" -eq 0 ]
}
