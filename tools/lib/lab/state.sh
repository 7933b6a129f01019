# shellcheck shell=bash
# What belongs to a lab: its folder, its lock, its processes, its network. Sourced by tools/lab.
#
# LAB is the folder: lock, options (what `up` was called with; there while the lab is up), NAME.pid
# and NAME.log of each process (net, a, b), a.console and b.console, images/.
# The network is a namespace without a name that the process "net" holds: it goes with its last
# process, whatever becomes of us.

LAB=${GODWIT_LAB_DIR:-$GODWIT_ROOT/build/lab}
LAB_HOSTS=(a b)

die() {
  printf 'lab: %s\n' "$1" >&2
  exit "${2:-1}"
}

address_of() {
  case $1 in
    a) printf '10.77.1.1' ;;
    b) printf '10.77.1.2' ;;
    client) printf '10.77.1.254' ;;
    *) die "there is no host $1: a, b or client" 2 ;;
  esac
}

# One command at a time changes the lab. The lock goes with the process, so what we start in the
# background must not inherit it (LOCK_FD).
lock_lab() {
  [ -z "${LOCK_FD:-}" ] || return 0
  mkdir -p "$LAB" || die "the folder $LAB cannot be made"
  exec {LOCK_FD}>"$LAB/lock"
  flock --wait "${1:-0}" "$LOCK_FD" ||
    die "another tools/lab is at work in $LAB (up, restart or down): wait for it"
}

is_up() { [ -r "$LAB/options" ] && process_runs net; }

need_up() { is_up || die 'the lab is not up: tools/lab up' 125; }

# started_at PID: in clock ticks since boot; with the PID it names a process for good.
started_at() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # The name in parentheses may contain anything; the rest starts with the state, field 3.
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [ "$1" != Z ] && printf '%s' "${20}"
}

# start_process NAME COMMAND...: in the lab's folder and in a session of its own, so that Ctrl-C is
# ours alone.
start_process() {
  local name=$1 pid started
  shift
  (cd "$LAB" && exec setsid "$@") >"$LAB/$name.log" 2>&1 </dev/null {LOCK_FD}>&- &
  pid=$!
  # Ended at once: the caller finds out when it waits for what it is to do.
  started=$(started_at "$pid") || started=0
  printf '%s %s\n' "$pid" "$started" >"$LAB/$name.pid"
}

# pid_of NAME: of a process of ours that still runs.
pid_of() {
  local pid started
  { read -r pid started <"$LAB/$1.pid"; } 2>/dev/null || return 1
  [ "$(started_at "$pid")" = "$started" ] && printf '%s' "$pid"
}

process_runs() { pid_of "$1" >/dev/null; }

# stop_process NAME: TERM, after 5 s KILL.
stop_process() {
  local pid i
  if pid=$(pid_of "$1"); then
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < 70; i++)); do
      process_runs "$1" || break
      [ $i -ne 50 ] || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.1
    done
    wait "$pid" 2>/dev/null || true
  fi
  rm -f "$LAB/$1.pid"
}

stop_lab() {
  local name
  rm -f "$LAB/options"
  for name in caller iperf nbd scratch "${LAB_HOSTS[@]}" net; do stop_process "$name"; done
  rm -rf "$LAB"/*.monitor "$LAB"/image.??????
}

# in_network COMMAND...: inside the lab's network, as the client.
in_network() {
  local pid
  pid=$(pid_of net) || die 'the lab has lost its network: tools/lab down, then up' 125
  nsenter --net="/proc/$pid/ns/net" -- "$@"
}
