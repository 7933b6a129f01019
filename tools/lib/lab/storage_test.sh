# shellcheck shell=bash
# Debian with a disk of the host's own beside the one over NBD, moved with --copy-storage while it
# writes: a part of tools/lab test. Sourced by tools/lab, after debian_test.sh.
#
# The hosts' files are in memory, so the disk that comes along is a small one (/dev/vdb); a file
# system on it takes records (scribe) and random writes with checksums (fio).

STORAGE_MIB=96
STORAGE_IMAGE=/run/lab/data.img

# Its moves ask it for free pages too. Not those of the guest with a client: as Linux hints, it is
# busy filling pages with zeroes (devices/virtio/free_page_hinting.h).
boot_storage() {
  run_quietly a 20 "truncate -s ${STORAGE_MIB}M $STORAGE_IMAGE" || return
  run_quietly b 20 "rm -f $STORAGE_IMAGE" || return
  DEBIAN_DEVICES="--disk path=$STORAGE_IMAGE,id=data,create --rng --balloon=free-page-hint=on" \
    boot_debian
}

# The kernel says it is there, and it takes a file system.
storage_mounted() {
  in_guest 60 'mkfs.ext4 -q -E discard /dev/vdb && mount -o discard /dev/vdb /mnt && df -h /mnt | tail -n 1'
}

# Both go on through the moves. The file that fio writes is laid out first: that takes a while here.
storage_busy() {
  local fio='fio --name=data --directory=/mnt --size=4m --rw=randrw --bs=4k --ioengine=psync'
  fio+=' --fsync=64 --rate=200k --verify=crc32c --verify_backlog=64'
  in_guest 180 'systemd-run -q --unit=data-records /usr/local/bin/scribe write /mnt/records &&' \
    "$fio --create_only=1 --output=/run/layout.txt &&" \
    "systemd-run -q --unit=data-fio $fio --time_based --runtime=3600 --output=/run/fio.txt"
}

# storage_idle: nothing writes, and the disk has all of it.
storage_idle() {
  in_guest 180 'systemctl stop data-records; systemctl kill -s INT data-fio;' \
    'for i in {1..200}; do systemctl -q is-active data-fio || break; sleep 0.5; done;' \
    '! grep -E "err= *[1-9]|verify:.*(bad|fail)" /run/fio.txt && grep -q "err= 0" /run/fio.txt &&' \
    'scribe check /mnt/records && umount /mnt && sync'
}

# storage_equal HOST HOST: their images, to the byte.
storage_equal() {
  local host sums=()
  for host in "$@"; do
    sums+=("$(run_on "$host" no 120 "sha256sum <$STORAGE_IMAGE")")
  done
  printf '%s' "${sums[0]:0:16}"
  [ -n "${sums[0]}" ] && [ "${sums[0]}" = "${sums[1]}" ] && return
  printf ' and %s' "${sums[1]:0:16}"
  return 1
}

# What godwit says of the disk's part in each move.
storage_text() {
  local n
  for ((n = $1; n <= $2; n++)); do
    printf '  move %s: %s; %s\n' "$n" \
      "$(sed -n '/^Disks/,/^$/s/^ *content *//p' "$GUEST_DIR/move.$n")" \
      "$(sed -n '/^Disks/,/^$/s/^ *last delta *//p' "$GUEST_DIR/move.$n")"
  done
}

# storage_clean HOST: the image, when the guest has ended.
storage_clean() {
  run_quietly "$GUEST_HOST" 120 "godwit stop --timeout 90s $GUEST_NAME" || return
  stop_process nbd
  get_file "$1" "$STORAGE_IMAGE" "$GUEST_DIR/data.img" || return
  e2fsck -fn "$GUEST_DIR/data.img" 2>&1 | tail -n 1
  [ "${PIPESTATUS[0]}" -eq 0 ]
}

# without_copy: without --copy-storage the target's disk is another file: refused by name.
without_copy() {
  local said status=0 to
  to=$(other_host "$GUEST_HOST")
  start_receiver "$to" || return
  said=$(run_on "$GUEST_HOST" no 60 "godwit migrate $GUEST_NAME tcp://$to:7000 \
    --tls-dir /run/lab/tls 2>&1") || status=$?
  run_quietly "$to" 30 "godwit stop $GUEST_NAME" || return
  [ $status -eq 4 ] && [[ $said == *'disk data: '*'--copy-storage'* ]] && return
  printf 'status %s: %s' "$status" "$said"
  return 1
}

# test_storage: with no guest in the lab, and a Debian disk.
test_storage() {
  check "Debian boots on host a with a disk of the host's own beside the one over NBD" \
    boot_storage || return 0
  check 'that disk takes a file system' storage_mounted || return 0
  check 'records and random writes go to it' storage_busy || return 0
  check 'a move without --copy-storage is refused by name' without_copy || true
  moves_copying 2 || { check 'it moves to b and back, and its disk with it' false; return 0; }
  check 'no write of two moves is missing: fio verifies, every record is there, once' \
    storage_idle || true
  moves_copying 1 || { check 'it moves to b again' false; return 0; }
  storage_text 1 3
  check 'with nobody writing, the images on both hosts are equal' storage_equal a b || true
  check 'the console can be read' check_console || return 0
  check 'no line of the console lost, repeated or garbled' all_lines
  check 'hashes of all guest memory are equal' memory_equal 1 3
  check 'the guest kernel has nothing to warn of' dmesg_quiet
  check "it powers off by its button; the disk's file system is clean" storage_clean b
}

moves_copying() {
  local i
  for ((i = 0; i < $1; i++)); do move_guest --copy-storage || return; done
}
