# shellcheck shell=bash
# The initramfs of the lab's hosts: busybox, the modules, godwit with its shared libraries, the
# agent. Nothing of this machine's file systems is visible inside. Sourced by tools/lab.

HOST_MODULES=(virtio_pci virtio_net virtio_rng af_packet bridge tun veth sch_netem irqbypass kvm
  kvm_amd)
# More that they have: programs of this machine, and files as FILE -> path there.
HOST_PROGRAMS=(socat)
declare -A HOST_FILES=()

# install_program FOLDER FILE PATH: with the libraries that it is linked with, under their own
# paths; their folders are added to FOLDER/etc/library-folders.
install_program() {
  local folder=$1 file=$2 library
  install -D -m 755 "$file" "$folder/$3"
  while read -r library; do
    [ -e "$folder/$library" ] || install -D -m 755 "$library" "$folder/$library"
    dirname "$library" >>"$folder/etc/library-folders"
  done < <(ldd "$file" 2>/dev/null | grep -o '/[^ )]*' || true)
}

# module_file KERNEL NAME: empty when it is built into the kernel.
module_file() {
  find "$1/modules" -name "$2.ko*" -o -name "${2//_/-}.ko*" | head -n 1
}

unpack_module() {
  case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -dqc "$1" ;;
    *.gz) gzip -dc "$1" ;;
    *) cat "$1" ;;
  esac
}

# add_module KERNEL FOLDER NAME: after what it depends on, by its own word ("depends=").
add_module() {
  local kernel=$1 folder=$2 name=${3//-/_} file needed
  [ ! -e "$folder/$name.ko" ] || return 0
  file=$(module_file "$kernel" "$name")
  [ -n "$file" ] || return 0
  unpack_module "$file" >"$folder/$name.ko"
  for needed in $(tr '\0' '\n' <"$folder/$name.ko" | sed -n 's/^depends=//p' | tr ',' ' '); do
    add_module "$kernel" "$folder" "$needed"
  done
  printf '%s\n' "$name" >>"$folder/order"
}

# make_archive FOLDER OUT
make_archive() {
  (cd "$1" && find . -print0 | sort -z | cpio --null --create --format=newc --quiet) >"$2.new" &&
    mv "$2.new" "$2"
}

# make_host_image KERNEL OUT
make_host_image() {
  local kernel=$1 out=$2 folder module program file
  folder=$(mktemp -d "$LAB/image.XXXXXX")
  mkdir -p "$folder/bin" "$folder/etc" "$folder/modules"
  install -m 755 "$LAB_LIB/host_init" "$folder/init"
  install -m 755 "$LAB_LIB/host_agent" "$folder/bin/lab-agent"
  install -m 755 "$LAB_LIB/host_impair" "$folder/bin/lab-impair"
  install_program "$folder" "$(command -v busybox)" bin/busybox
  for program in "${HOST_PROGRAMS[@]}"; do
    install_program "$folder" "$(command -v "$program")" "bin/$program"
  done
  for file in "${!HOST_FILES[@]}"; do
    install -D -m 644 "$file" "$folder/${HOST_FILES[$file]}"
  done
  install_program "$folder" "$LAB_GODWIT" bin/godwit
  install_program "$folder" "$(command -v tc)" usr/sbin/tc
  install_program "$folder" "$(command -v ip)" usr/sbin/ip
  sort -u "$folder/etc/library-folders" | paste -s -d : >"$folder/etc/library-path"
  printf '10.77.1.1 a\n10.77.1.2 b\n10.77.1.254 client\n127.0.0.1 localhost\n' >"$folder/etc/hosts"
  printf 'root:x:0:0:root:/root:/bin/sh\n' >"$folder/etc/passwd"
  for module in "${HOST_MODULES[@]}"; do add_module "$kernel" "$folder/modules" "$module"; done
  make_archive "$folder" "$out"
  rm -rf "$folder"
}
