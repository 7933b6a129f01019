# shellcheck shell=bash
# The root disk of a Debian guest: an ext4 file system of packages and a few services of ours
# (tests/lab/debian), with the kernel and the initrd that those packages install. Sourced by
# tools/lab.
#
#   debian_disk FOLDER   FOLDER/disk (raw), FOLDER/vmlinuz and FOLDER/initrd are there

DEBIAN_PACKAGES=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus,e2fsprogs,fio,iperf3
DEBIAN_DISK_SIZE=1G

# debian_sources: where apt of this machine gets packages, for mmdebstrap; nothing where this is no
# Debian: mmdebstrap knows a mirror.
debian_sources() {
  grep -qx 'ID=debian' /etc/os-release || return 0
  find /etc/apt -maxdepth 2 -path '*/sources.list*' -type f |
    while read -r file; do
      ! grep -Eq '^(deb|URIs:)' "$file" || printf '%s\n' "$file"
    done
}

# debian_tree FOLDER: packages, unpacked and configured.
debian_tree() {
  local sources
  mapfile -t sources < <(debian_sources)
  timeout 600 mmdebstrap --variant=minbase --quiet --include="$DEBIAN_PACKAGES" \
    --aptopt='Acquire::Check-Valid-Until "false"' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
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

# debian_disk FOLDER: made anew when what it is made of has changed.
debian_disk() {
  local folder=$1 work made_of
  made_of=$(cat "$LAB_LIB/debian.sh" "$GODWIT_ROOT/tests/lab/pulse.cc" \
    "$GODWIT_ROOT/tests/lab/scribe.cc" "$GODWIT_ROOT"/tests/lab/debian/etc/systemd/*/* | sha256sum)
  [ "$(cat "$folder/made-of" 2>/dev/null)" != "$made_of" ] || return 0
  printf 'lab: making the Debian disk (a few minutes, once)\n' >&2
  mkdir -p "$(dirname "$folder")"
  work=$(mktemp -d "$(dirname "$folder")/debian.XXXXXX")
  if debian_tree "$work/tree" >&2 && add_services "$work/tree" &&
    mkfs.ext4 -q -d "$work/tree" "$work/disk" "$DEBIAN_DISK_SIZE" >&2 &&
    cp "$work"/tree/boot/vmlinuz-* "$work/vmlinuz" &&
    cp "$work"/tree/boot/initrd.img-* "$work/initrd"; then
    rm -rf "$work/tree"
    printf '%s\n' "$made_of" >"$work/made-of"
    rm -rf "$folder" && mv "$work" "$folder" && chmod 755 "$folder"
    return
  fi
  rm -rf "$work"
  return 1
}
