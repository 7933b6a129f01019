# shellcheck shell=bash
# The guest of tools/lab bench under one VMM or another. Sourced by tools/lab.
#
# KIND is godwit, qemu, qemu-vhost (packets by the host's kernel), and for moves qemu-tuned too.
# Each VMM is started as its documentation has it for speed, with the same devices: one disk of one
# queue, O_DIRECT and io_uring on a thread of its own; one network interface of one queue pair.
# shellcheck disable=SC2016,SC2034 # expanded on the host; other parts use it

BENCH_DISK=/dev/ram0
BENCH_DISK_MIB=64
# MiB of a guest that has fio in its memory, and of one that moves.
BENCH_MEMORY=512
BENCH_MOVE_MEMORY=256
BENCH_MIGRATION_PORT=4444
# What QEMU needs of its firmware to boot a kernel.
QEMU_ROMS=(bios-256k.bin kvmvapic.bin linuxboot_dma.bin)

# bench_host_image: what the hosts get besides what they always have.
bench_host_image() {
  local rom folder
  HOST_PROGRAMS+=(qemu-system-x86_64 iperf3)
  HOST_MODULES+=(brd vhost_net)
  for rom in "${QEMU_ROMS[@]}"; do
    for folder in /usr/share/qemu /usr/share/seabios; do
      [ ! -e "$folder/$rom" ] || HOST_FILES["$folder/$rom"]=/usr/share/qemu/$rom
    done
  done
}

# bench_guest_image OUT PROGRAM...: an initramfs with programs of this machine.
bench_guest_image() {
  local out=$1 folder module program
  shift
  folder=$(mktemp -d "$LAB/image.XXXXXX")
  mkdir -p "$folder/bin" "$folder/etc" "$folder/modules"
  for module in virtio_pci virtio_blk virtio_net; do
    add_module "$HOST_KERNEL" "$folder/modules" "$module"
  done
  : >"$folder/etc/library-folders"
  for program in busybox "$@"; do
    install_program "$folder" "$(command -v "$program")" "bin/$program"
  done
  sort -u "$folder/etc/library-folders" | paste -s -d : >"$folder/etc/library-path"
  install -m 755 "$GODWIT_ROOT/tests/lab/bench_init" "$folder/init"
  g++ -std=c++20 -O2 -static "$GODWIT_ROOT/tests/lab/pulse.cc" -o "$folder/bin/pulse" &&
    make_archive "$folder" "$out"
  rm -rf "$folder"
}

# prepare_bench: the hosts have the guest's files, its tap and a disk in memory that takes O_DIRECT.
prepare_bench() {
  local host
  rm -rf "$GUEST_DIR" && mkdir -p "$GUEST_DIR"
  if ! bench_guest_image "$GUEST_DIR/bench-devices" fio iperf3 ||
    ! bench_guest_image "$GUEST_DIR/bench-moves"; then
    die 'the initramfs of the guest could not be made'
  fi
  for host in "${LAB_HOSTS[@]}"; do
    put_file "$host" "$HOST_KERNEL/bzImage" /run/lab/bzimage
    put_file "$host" "$GUEST_DIR/bench-moves" /run/lab/bench-moves
    add_tap "$host" || die "host $host has no tap for the guest"
  done
  put_file a "$GUEST_DIR/bench-devices" /run/lab/bench-devices
  run_quietly a 30 "rmmod brd; insmod /modules/brd.ko rd_nr=1 \
    rd_size=$((BENCH_DISK_MIB * 1024)) && [ -e /dev/vhost-net ]" ||
    die 'host a has no disk in memory (brd) or no vhost_net'
}

# qemu_command KIND N WORDS PART: for the console of that number; PART is devices or moves.
qemu_command() {
  local vhost=off memory=$BENCH_MOVE_MEMORY
  [ "$1" != qemu-vhost ] || vhost=on
  [ "$4" = moves ] || memory=$BENCH_MEMORY
  printf 'qemu-system-x86_64 -L /usr/share/qemu -name %s -nodefaults -no-user-config ' "$GUEST_NAME"
  printf -- '-display none -no-reboot -machine q35 -accel kvm -cpu host -smp 1 -m %s ' "$memory"
  printf -- '-serial file:/run/lab/console.%s ' "$2"
  printf -- '-monitor unix:/run/lab/monitor,server=on,wait=off '
  printf -- '-netdev tap,id=net,ifname=guest0,script=no,downscript=no,vhost=%s ' $vhost
  printf -- '-device virtio-net-pci,netdev=net,romfile=,disable-legacy=on,mac=%s ' "$DEBIAN_MAC"
  if [ "$4" = devices ]; then
    printf -- '-object iothread,id=io -blockdev driver=host_device,node-name=disk,filename=%s' \
      $BENCH_DISK
    printf -- ',cache.direct=on,aio=io_uring,discard=unmap '
    printf -- '-device virtio-blk-pci,drive=disk,iothread=io,num-queues=1,disable-legacy=on '
  fi
  printf -- '-kernel /run/lab/bzimage -initrd /run/lab/bench-%s -append "%s"' "$4" "$3"
}

# godwit_command N WORDS PART: the same.
godwit_command() {
  local memory=$BENCH_MOVE_MEMORY
  [ "$3" = moves ] || memory=$BENCH_MEMORY
  printf 'godwit run --name %s --memory %sM --serial file=/run/lab/console.%s ' "$GUEST_NAME" \
    "$memory" "$1"
  printf -- '--net tap=guest0,mac=%s ' "$DEBIAN_MAC"
  [ "$3" = moves ] || printf -- '--disk path=%s ' $BENCH_DISK
  printf -- '--kernel /run/lab/bzimage --initrd /run/lab/bench-%s --cmdline "%s"' "$3" "$2"
}

# start_vmm HOST N COMMAND: its process number is in /run/lab/vmm.N.pid.
start_vmm() {
  run_quietly "$1" 60 "cd /run/lab && rm -f console.$2 vmm.$2 vmm.$2.pid monitor &&
    setsid sh -c $(quoted "echo \$\$ >vmm.$2.pid; exec $3") >vmm.$2 2>&1 </dev/null &"
}

# stop_vmm HOST N: until it is gone.
stop_vmm() {
  run_quietly "$1" 60 "pid=\$(cat /run/lab/vmm.$2.pid) || exit 0
    kill -KILL \$pid 2>/dev/null
    for i in \$(seq 200); do [ -d /proc/\$pid ] || exit 0; sleep 0.1; done; exit 1"
}

# boot_bench KIND WORDS PART: on host a, until it answers.
boot_bench() {
  local kind=$1 words command i
  words="console=ttyS0 quiet panic=-1 mitigations=off lab.address=$DEBIAN_ADDRESS $2"
  rm -f "$GUEST_DIR"/console.*
  GUEST_HOST=a GUEST_CONSOLES=1
  if [ "$kind" = godwit ]; then
    command=$(godwit_command 0 "$words" "$3")
  else
    command=$(qemu_command "$kind" 0 "$words" "$3")
  fi
  start_vmm a 0 "$command" || return
  if run_on a no 200 'cd /run/lab; for i in $(seq 720); do
      ! grep -aq "^guest: ready" console.0 || exit 0
      [ ! -s vmm.0.pid ] || [ -d /proc/$(cat vmm.0.pid) ] || exit 1
      sleep 0.25
    done; exit 1' 2>/dev/null; then
    for ((i = 0; i < 20; i++)); do
      in_guest 20 true >/dev/null 2>&1 && return
      sleep 0.5
    done
  fi
  guest_trouble "the guest did not come up under $kind"
  return 1
}

# monitor HOST COMMAND: of QEMU there.
monitor() { run_on "$1" no 60 "echo $(quoted "$2") | socat -t 2 - UNIX:/run/lab/monitor"; }

# qemu_move KIND: from host a to b. Prints downtime and total time in ms as QEMU gives them.
qemu_move() {
  local i said
  start_vmm b 1 "$(qemu_command "$1" 1 'as it was' moves) -incoming defer" || return
  for ((i = 0; i < 60; i++)); do
    run_on b no 20 '[ -S /run/lab/monitor ]' && break
    sleep 0.5
  done
  if [ "$1" = qemu-tuned ]; then
    for i in a b; do
      monitor $i 'migrate_set_capability multifd on'
      monitor $i 'migrate_set_parameter multifd-channels 2'
    done >/dev/null
    monitor a 'migrate_set_parameter max-bandwidth 0' >/dev/null
    monitor a "migrate_set_parameter downtime-limit $BENCH_TUNED_LIMIT" >/dev/null
  fi
  monitor b "migrate_incoming tcp:0.0.0.0:$BENCH_MIGRATION_PORT" >/dev/null
  monitor a "migrate -d tcp:$(address_of b):$BENCH_MIGRATION_PORT" >/dev/null
  for ((i = 0; i < 240; i++)); do
    said=$(monitor a 'info migrate' | tr -d '\r')
    [[ $said != *'Migration status: completed'* ]] || break
    if [[ $said == *'Migration status: failed'* ]]; then break; fi
    sleep 0.5
  done
  printf '%s %s\n' "$(sed -n 's/^downtime: \([0-9]*\) ms/\1/p' <<<"$said")" \
    "$(sed -n 's/^total time: \([0-9]*\) ms/\1/p' <<<"$said")"
  [[ $said == *'Migration status: completed'* ]]
}

# godwit_move: the same. Without setup in the total, as QEMU's target is made before its clock runs.
godwit_move() {
  local said
  start_vmm b 1 "godwit receive --name $GUEST_NAME --listen tcp://0.0.0.0:$BENCH_MIGRATION_PORT \
    --plaintext --serial file=/run/lab/console.1 --net tap=guest0" || return
  wait_in b 60 /run/lab/vmm.1 'waits for a guest' || return
  said=$(run_on a no 240 "godwit migrate $GUEST_NAME tcp://b:$BENCH_MIGRATION_PORT --plaintext \
    --timeout 200s --converge-timeout 20s --on-no-converge switchover --json \
    2>/run/lab/migrate.log") || return
  printf '%s\n' "$said" >"$GUEST_DIR/move.json"
  printf '%s %s\n' "$(json_number downtime "$GUEST_DIR/move.json")" \
    "$(json_number total-time "$GUEST_DIR/move.json")"
}

# json_number NAME FILE: the first of that name.
json_number() { grep -o "\"$1\":[0-9.]*" "$2" | head -n 1 | cut -d: -f2; }
