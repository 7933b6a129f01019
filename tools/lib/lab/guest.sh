# shellcheck shell=bash
# A Linux guest under godwit in the lab: boot it, move it, look at what it said. Sourced by
# tools/lab.
#
# GUEST_HOST is where it runs. GUEST_CONSOLES counts the serial consoles it has had, one on each
# host it came to: /run/lab/console.N there and, once it left, $GUEST_DIR/console.N here. A command
# that fails says why on stderr.

GUEST_DIR=$LAB/guest
GUEST_NAME=linux
# What the guest rewrites all the time: MiB, and pages per second.
GUEST_MEMORY=256M
GUEST_BUSY_MIB=16
GUEST_BUSY_RATE=1000
# What `godwit run` and `godwit receive` are told of its devices, and how long it may take to boot.
GUEST_DEVICES=
GUEST_PATIENCE=120
# What `godwit migrate` has to keep to, and how long both sides wait for each other's bytes.
GUEST_LIMIT=500ms
GUEST_IO_TIMEOUT=10s
# More of the kernel's command line.
GUEST_WORDS=
# The power button, as the kernel has it and as programs do.
GUEST_MODULES=(button evdev)

# run_quietly HOST SECONDS SCRIPT: says what it said only when it fails.
run_quietly() {
  local said
  said=$(run_on "$1" no "$2" "$3" 2>&1) && return
  printf '%s\n' "$said" >&2
  return 1
}

# guest_image OUT: the initramfs of the guest. A network client for it comes in here with virtio.
guest_image() {
  local out=$1 folder module
  folder=$(mktemp -d "$LAB/image.XXXXXX")
  mkdir -p "$folder/bin" "$folder/etc/acpi/PWRF" "$folder/modules"
  # acpid of busybox runs this when the power button is pressed.
  install -m 755 "$GODWIT_ROOT/tests/lab/guest_button" "$folder/etc/acpi/PWRF/00000080"
  for module in "${GUEST_MODULES[@]}"; do
    add_module "$HOST_KERNEL" "$folder/modules" "$module"
  done
  install_program "$folder" "$(command -v busybox)" bin/busybox
  install -m 755 "$GODWIT_ROOT/tests/lab/guest_init" "$folder/init"
  g++ -std=c++20 -O2 -static "$GODWIT_ROOT/tests/lab/pulse.cc" -o "$folder/bin/pulse" &&
    make_archive "$folder" "$out"
  rm -rf "$folder"
}

# prepare_guests: the hosts have the guest's kernel in both forms, its initramfs, and certificates.
# The kernel is that of the hosts themselves.
prepare_guests() {
  local host bzimage=$HOST_KERNEL/bzImage
  rm -rf "$GUEST_DIR" && mkdir -p "$GUEST_DIR"
  guest_image "$GUEST_DIR/initrd" || die 'the initramfs of the guest could not be made'
  extract_vmlinux "$bzimage" "$GUEST_DIR/vmlinux" || exit 1
  "$LAB_GODWIT" certs "$GUEST_DIR/tls" --host a --host b >/dev/null 2>"$GUEST_DIR/certs.log" ||
    die "no certificates could be made: $(cat "$GUEST_DIR/certs.log")"
  for host in "${LAB_HOSTS[@]}"; do
    put_file "$host" "$GUEST_DIR/tls" /run/lab/tls
    # What an earlier guest left: console numbers start again.
    run_quietly "$host" 30 'rm -f /run/lab/console.* /run/lab/vmm.* /run/lab/status.*'
  done
  put_file a "$bzimage" /run/lab/bzimage
  put_file a "$GUEST_DIR/vmlinux" /run/lab/vmlinux
  put_file a "$GUEST_DIR/initrd" /run/lab/initrd
}

# wait_in HOST SECONDS FILE PATTERN [COUNT]: until so many lines of a file there match.
wait_in() {
  run_on "$1" no $(($2 + 10)) "for i in \$(seq $(($2 * 4))); do
      [ \"\$(grep -acE $(quoted "$4") $3 2>/dev/null)\" -ge ${5:-1} ] 2>/dev/null && exit 0
      sleep 0.25
    done
    exit 1" 2>/dev/null
}

# in_background N ARGUMENTS: shell text that starts godwit with the serial console of that number;
# /run/lab/vmm.N is its log, status.N its exit status.
in_background() {
  printf "setsid sh -c 'godwit %s --serial file=/run/lab/console.%s --log-file /run/lab/vmm.%s \
    >/dev/null 2>>/run/lab/vmm.%s; echo \$? >/run/lab/status.%s' >/dev/null 2>&1 </dev/null &" \
    "$2" "$1" "$1" "$1" "$1"
}

# boot_guest FORMAT [OPTION]...: on host a, with options of godwit run; until it runs. FORMAT is
# bzimage or vmlinux.
boot_guest() {
  local format=$1
  shift
  run_guest "$format" initrd "lab.mib=$GUEST_BUSY_MIB lab.rate=$GUEST_BUSY_RATE $GUEST_WORDS" "$@"
}

# run_guest KERNEL INITRD CMDLINE [OPTION]...: files of /run/lab on host a.
run_guest() {
  local kernel=$1 initrd=$2 words=$3
  shift 3
  rm -f "$GUEST_DIR"/console.*
  GUEST_HOST=a GUEST_CONSOLES=1 GUEST_LEAPS=()
  run_quietly a 60 "cd /run/lab && rm -f console.* vmm.* status.* &&
    export CMDLINE='console=ttyS0 quiet panic=-1 $words' &&
    $(in_background 0 "run --name $GUEST_NAME --memory $GUEST_MEMORY $GUEST_DEVICES $* \
      --kernel /run/lab/$kernel --initrd /run/lab/$initrd --cmdline \"\$CMDLINE\"")"
  wait_in a "$GUEST_PATIENCE" /run/lab/console.0 '^seq=' 20 && return
  guest_trouble "Linux ($kernel) did not boot within $GUEST_PATIENCE s"
  return 1
}

guest_trouble() {
  local host
  printf 'lab: %s\n' "$1" >&2
  for host in "${LAB_HOSTS[@]}"; do
    printf -- '-- host %s\n' "$host"
    run_on "$host" no 20 'cd /run/lab; tail -n 12 vmm.*; tail -n 5 console.*; dmesg | tail -n 5' ||
      true
  done >&2
}

# receive_devices: the same as those of run, without what the target takes from the source.
receive_devices() {
  printf '%s' "$GUEST_DEVICES" | sed 's/--rng//; s/--balloon[^ ]*//'
}

# start_receiver HOST: it waits for the guest, with a console of the next number.
start_receiver() {
  local host=$1 n=$GUEST_CONSOLES
  run_quietly "$host" 60 "cd /run/lab && rm -f console.$n vmm.$n status.$n &&
    $(in_background "$n" "receive --name $GUEST_NAME --listen tcp://0.0.0.0:7000 \
      --tls-dir /run/lab/tls --accept-timeout 60s --io-timeout $GUEST_IO_TIMEOUT \
      $(receive_devices)")"
  wait_in "$host" 30 "/run/lab/vmm.$n" 'waits for a guest' && return
  guest_trouble "godwit receive did not start on host $host"
  return 1
}

# clock_distance: how far this machine's clock is ahead of the guest's CLOCK_MONOTONIC, in us; it is
# taken later than the guest's, so the least of some is the nearest. Constant as long as the guest's
# clock goes right: both go by the TSC of this machine.
clock_distance() {
  local i console=/run/lab/console.$((GUEST_CONSOLES - 1)) mono now distance least=
  for ((i = 0; i < 3; i++)); do
    mono=$(run_on "$GUEST_HOST" no 20 "tail -c 400 $console | tr -d '\\r' |
      sed -n 's/^seq=[0-9]* mono=\\([0-9]*\\) .* checked=[0-9]*$/\\1/p' | tail -n 1")
    read -r now _ </proc/uptime
    [[ $mono =~ ^[0-9]+$ ]] || return 1
    # Hundredths of a second, without the point.
    distance=$((10#${now/./} * 10000 - mono))
    if [ -z "$least" ] || [ "$distance" -lt "$least" ]; then least=$distance; fi
  done
  printf '%s' "$least"
}

other_host() { if [ "$1" = a ]; then printf b; else printf a; fi; }

# move_guest [OPTION]...: to the other host, with options of godwit migrate; its report is in
# $GUEST_DIR/move.N, N from 1. Until the guest goes on there. What the move did to its clock, in us,
# is added to GUEST_LEAPS.
move_guest() {
  local from=$GUEST_HOST to n=$GUEST_CONSOLES status=0 distance
  to=$(other_host "$from")
  distance=$(clock_distance) || return
  start_receiver "$to" || return
  run_on "$from" no 330 "godwit migrate $GUEST_NAME tcp://$to:7000 --tls-dir /run/lab/tls --verify \
    --downtime-limit $GUEST_LIMIT --converge-timeout 30s --on-no-converge switchover --timeout 300s \
    --io-timeout $GUEST_IO_TIMEOUT $*" \
    >"$GUEST_DIR/move.$n" 2>"$GUEST_DIR/move.$n.log" || status=$?
  if [ $status -ne 0 ]; then
    guest_trouble "the move to host $to failed with status $status:
$(tail -n 3 "$GUEST_DIR/move.$n.log")"
    return 1
  fi
  GUEST_HOST=$to GUEST_CONSOLES=$((n + 1))
  get_file "$from" "/run/lab/console.$((n - 1))" "$GUEST_DIR/console.$((n - 1))" || return
  if ! wait_in "$to" 60 "/run/lab/console.$n" '^seq=' 20; then
    guest_trouble "the guest says nothing on host $to"
    return 1
  fi
  distance=$((distance - $(clock_distance || printf 1000000000)))
  GUEST_LEAPS+=("$distance")
}

# check_console: what console.awk says of all that the guest said until now.
check_console() {
  local i bounds=() offset=0 files=()
  get_file "$GUEST_HOST" "/run/lab/console.$((GUEST_CONSOLES - 1))" \
    "$GUEST_DIR/console.$((GUEST_CONSOLES - 1))" || return
  for ((i = 0; i < GUEST_CONSOLES; i++)); do
    files+=("$GUEST_DIR/console.$i")
    offset=$((offset + $(stat -c %s "$GUEST_DIR/console.$i")))
    bounds+=("$offset")
  done
  unset 'bounds[-1]'
  # The last line may not be whole yet.
  cat "${files[@]}" | sed '$d' | LC_ALL=C awk -v bounds="${bounds[*]}" \
    -f "$GODWIT_ROOT/tests/lab/console.awk" >"$GUEST_DIR/checked"
}

# console_value NAME: of the whole console; move_value N NAME: of a move.
console_value() {
  sed -n "s/^lines=.* $1=\([^ ]*\).*/\1/p; s/^$1=\([0-9]*\) first=.*/\1/p" "$GUEST_DIR/checked"
}
move_value() { sed -n "s/^move=$1 .*\b$2=\([^ ]*\).*/\1/p" "$GUEST_DIR/checked"; }

# stop_guest: by its power button, if it listens.
stop_guest() {
  run_quietly "$GUEST_HOST" 60 "godwit stop $GUEST_NAME"
}
