#!/usr/bin/env bash
# remote.sh ADDRESS STDIN SCRIPT: runs a shell script on a lab host, from inside the lab's network.
# STDIN is yes to pass standard input on. The agent's side, with the protocol, is host_agent.
# Status: the script's; 125 when the host does not answer.
set -uo pipefail
address=$1 stdin=$2 script=$3
port=9901
job=$$-$RANDOM$RANDOM

lost() {
  printf 'lab: the host does not answer (%s); see tools/lab status\n' "$1" >&2
  exit 125
}

# dial WORD: a connection for it; its descriptor is in $fd.
dial() {
  { exec {fd}<>"/dev/tcp/$address/$port"; } 2>/dev/null || lost "$1: no connection"
  printf '%s\n' "$1" >&"$fd"
}

dial "run $job $stdin $(printf '%s\n' "$script" | base64 -w 0)"
control=$fd
IFS= read -r -t 60 answer <&"$control" || lost 'no word from its agent'
[ "$answer" = ready ] || lost "its agent said \"$answer\""

readers=()
dial "out $job"
out=$fd
dial "err $job"
err=$fd
if [ "$stdin" = yes ]; then
  dial "in $job"
  # In the background bash would give it /dev/null instead of ours.
  cat <&0 >&"$fd" {control}>&- {out}>&- {err}>&- 2>/dev/null &
  exec {fd}>&-
fi
cat <&"$out" {control}>&- {err}>&- &
readers+=($!)
cat <&"$err" {control}>&- {out}>&- >&2 &
readers+=($!)
exec {out}>&- {err}>&-

IFS= read -r status <&"$control" || status=
# What the job left running may hold its output open: it is not waited for.
patience=20
for reader in "${readers[@]}"; do
  while kill -0 "$reader" 2>/dev/null && ((patience-- > 0)); do sleep 0.1; done
done
kill "${readers[@]}" 2>/dev/null
[[ $status =~ ^[0-9]+$ ]] || lost 'it broke off before the command ended'
exit "$status"
