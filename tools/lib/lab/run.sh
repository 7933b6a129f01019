# shellcheck shell=bash
# Commands and files on the lab's hosts. Sourced by tools/lab.

quoted() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

# script_of ARGUMENT...: one is a shell's command line, several are a command and its arguments.
script_of() {
  local argument
  if [ $# -eq 1 ]; then
    printf '%s' "$1"
    return
  fi
  printf 'exec'
  for argument in "$@"; do printf ' %s' "$(quoted "$argument")"; done
}

# run_on HOST STDIN SECONDS SCRIPT: its output, error and status are ours; STDIN is yes or no.
run_on() {
  local host=$1 input=$2 script=$4 limited=(timeout --foreground --kill-after=5 "$3")
  local command=(bash "$LAB_LIB/remote.sh" "$(address_of "$host")" "$input" "$script")
  [ "$host" != client ] || command=(bash -c "$script")
  if [ "$input" = yes ]; then
    in_network "${limited[@]}" "${command[@]}"
  else
    in_network "${limited[@]}" "${command[@]}" </dev/null
  fi
}

# put_file HOST FILE DEST: DEST is a file, or with a folder a folder, or a folder that is there.
put_file() {
  local host=$1 file=$2 to
  to=$(quoted "$3")
  if [ -d "$file" ]; then
    tar -C "$file" -cf - . | run_on "$host" yes 300 "mkdir -p $to && tar -C $to -xf -"
    return
  fi
  [ -r "$file" ] || die "$file cannot be read"
  # shellcheck disable=SC2094
  run_on "$host" yes 300 "to=$to; [ ! -d \"\$to\" ] || to=\$to/$(quoted "$(basename "$file")")
    mkdir -p \"\$(dirname \"\$to\")\" && cat >\"\$to.part\" &&
    chmod $(stat -c %a "$file") \"\$to.part\" && mv \"\$to.part\" \"\$to\"" <"$file"
}

# get_file HOST FILE DEST: DEST appears when all of it is there.
get_file() {
  local host=$1 file=$2 to=$3
  [ ! -d "$to" ] || to=$to/$(basename "$file")
  if run_on "$host" no 300 "cat $(quoted "$file")" >"$to.part"; then
    mv "$to.part" "$to"
  else
    rm -f "$to.part"
    return 1
  fi
}
