# shellcheck shell=bash
# The root disk of a Debian guest: an ext4 file system of packages and a few services of ours
# (tests/lab/debian), with the kernel and the initrd that those packages install. Sourced by
# tools/lab.
#
#   debian_disk FOLDER   FOLDER/disk (raw) is there, with the cloud kernel (FOLDER/vmlinuz and
#                        FOLDER/initrd) and the ordinary one (vmlinuz-ordinary, initrd-ordinary)
#   DEBIAN_DISK          where it is usually kept
# shellcheck disable=SC2034 # what is set here, other parts use

DEBIAN_DISK=$GODWIT_ROOT/build/debian
# Why it cannot be made here, if that is so.
DEBIAN_LACKS=
DEBIAN_PACKAGES=linux-image-cloud-amd64,linux-image-amd64,initramfs-tools,systemd-sysv,udev,dbus,e2fsprogs,fio,iperf3,socat
DEBIAN_DISK_SIZE=1G
# What no guest needs: documents, and most of the ordinary kernel's modules.
DEBIAN_LEFT_OUT=(/usr/share/{doc,man,locale} '/lib/modules/*/kernel/sound'
  '/lib/modules/*/kernel/drivers/'{gpu,media,net/ethernet,net/wireless,infiniband,staging,iio,scsi})

# debian_sources: where apt of this machine gets packages, for mmdebstrap; nothing where this is no
# Debian: mmdebstrap knows a mirror.
debian_sources() {
  grep -qx 'ID=debian' /etc/os-release || return 0
  find /etc/apt -maxdepth 2 \( -name '*.list' -o -name '*.sources' \) -type f |
    while read -r file; do
      ! grep -Eq '^(deb|URIs:)' "$file" || printf '%s\n' "$file"
    done
}

# debian_tree FOLDER: packages, unpacked and configured.
debian_tree() {
  local sources folder options=()
  mapfile -t sources < <(debian_sources)
  for folder in "${DEBIAN_LEFT_OUT[@]}"; do options+=(--dpkgopt="path-exclude=$folder/*"); done
  timeout --foreground 900 mmdebstrap --variant=minbase --include="$DEBIAN_PACKAGES" \
    --aptopt='Acquire::Check-Valid-Until "false"' "${options[@]}" \
    bookworm "$1" "${sources[@]}" </dev/null
}

# add_services TREE: the programs that watch, and what starts them.
add_services() {
  local tree=$1 program unit
  cp -r "$GODWIT_ROOT/tests/lab/debian/." "$tree/"
  for program in pulse scribe; do
    g++ -std=c++20 -O2 -static "$GODWIT_ROOT/tests/lab/$program.cc" \
      -o "$tree/usr/local/bin/$program" || return
  done
  mkdir -p "$tree/etc/systemd/system/multi-user.target.wants" \
    "$tree/etc/systemd/system/sockets.target.wants"
  for unit in pulse.service scribe.service; do
    ln -sf "/etc/systemd/system/$unit" "$tree/etc/systemd/system/multi-user.target.wants/$unit"
  done
  ln -sf /lib/systemd/system/systemd-networkd.service \
    "$tree/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
  for unit in echo.socket shell.socket; do
    ln -sf "/etc/systemd/system/$unit" "$tree/etc/systemd/system/sockets.target.wants/$unit"
  done
  # What only costs time on a disk that lives for a test, and what writes to the console.
  for unit in getty@tty1.service serial-getty@ttyS0.service apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer systemd-timesyncd.service systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
  done
  printf '/dev/vda / ext4 defaults 0 1\n' >"$tree/etc/fstab"
  printf 'guest\n' >"$tree/etc/hostname"
}

has_debian_programs() {
  local program
  for program in mmdebstrap mkfs.ext4 nbdkit; do
    command -v "$program" >/dev/null && continue
    DEBIAN_LACKS="there is no $program"
    return 1
  done
}

# reaches_mirror: by what mmdebstrap would fetch first; nothing is installed.
reaches_mirror() {
  local sources
  mapfile -t sources < <(debian_sources)
  timeout --foreground 120 mmdebstrap --simulate --variant=custom --quiet --include=base-files \
    bookworm /dev/null "${sources[@]}" </dev/null >/dev/null 2>&1 && return
  DEBIAN_LACKS='mmdebstrap reaches no mirror of Debian'
  return 1
}

# take_kernel FOLDER FLAVOUR SUFFIX: out of the tree there.
take_kernel() {
  local file
  for file in vmlinuz initrd; do
    # The version ends with its number: 6.1.0-56-amd64 is the ordinary one, beside -cloud-amd64.
    cp "$1"/tree/boot/$file*-[0-9]*[0-9]-"$2" "$1/$file$3" || return
  done
}

# make_debian_disk FOLDER MADE_OF: its parts go when it fails or is interrupted.
make_debian_disk() (
  local folder=$1 work
  work=$(mktemp -d "$(dirname "$folder")/debian.XXXXXX") || return
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM HUP
  debian_tree "$work/tree" && add_services "$work/tree" &&
    mkfs.ext4 -q -d "$work/tree" "$work/disk" "$DEBIAN_DISK_SIZE" &&
    take_kernel "$work" cloud-amd64 '' && take_kernel "$work" amd64 -ordinary || return
  rm -rf "$work/tree"
  printf '%s\n' "$2" >"$work/made-of"
  rm -rf "$folder" && mv "$work" "$folder" && chmod 755 "$folder"
) >&2

# debian_disk FOLDER: made anew when what it is made of has changed. Status 2 when this machine
# cannot make it: DEBIAN_LACKS says why.
debian_disk() {
  local folder=$1 made_of begin=$SECONDS status=0
  made_of=$(cat "$LAB_LIB/debian.sh" "$GODWIT_ROOT/tests/lab/pulse.cc" \
    "$GODWIT_ROOT/tests/lab/scribe.cc" "$GODWIT_ROOT"/tests/lab/debian/etc/systemd/*/* | sha256sum)
  [ "$(cat "$folder/made-of" 2>/dev/null)" != "$made_of" ] || return 0
  has_debian_programs || return 2
  mkdir -p "$(dirname "$folder")"
  printf 'lab: making the Debian disk with mmdebstrap: some minutes, once\n' >&2
  make_debian_disk "$folder" "$made_of" || status=$?
  # Interrupted: mmdebstrap ends by itself then, as if it had failed.
  [ $status -lt 128 ] || exit $status
  if [ $status -eq 0 ]; then
    printf 'lab: the Debian disk is made, after %s s\n' $((SECONDS - begin)) >&2
    return
  fi
  reaches_mirror || return 2
  return 1
}
