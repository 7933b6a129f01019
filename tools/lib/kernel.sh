# shellcheck shell=bash
# The distribution's Linux kernel, for tests and for the lab: fetched with apt, unpacked into a
# folder, never installed. Sourced; also run by tools/test within its time limit.
#
#   fetch_kernel FOLDER          FOLDER/bzImage and FOLDER/modules (its .ko files) are there
#   unpack_kernel DEB... FOLDER  the same from packages that are at hand
#   extract_vmlinux BZIMAGE OUT  the ELF image inside, as the kernel's own build made it

# kernel_package: the name of the package with the cloud kernel, or what comes nearest to it.
kernel_package() {
  local meta name
  for meta in linux-image-cloud-amd64 linux-image-virtual linux-image-amd64; do
    name=$(apt-cache depends "$meta" 2>/dev/null |
      sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    if [ -n "$name" ]; then
      printf '%s\n' "$name"
      return
    fi
  done
  return 1
}

# fetch_kernel FOLDER: replaces FOLDER in one step, so that one who reads it never sees half of it.
fetch_kernel() {
  local folder=$1 package work status=0
  if ! package=$(kernel_package) && [ "$(id -u)" -eq 0 ]; then
    apt-get -qq update
    package=$(kernel_package) || true
  fi
  if [ -z "$package" ]; then
    printf 'apt knows no Linux kernel package (linux-image-cloud-amd64 or its like)\n' >&2
    return 1
  fi
  mkdir -p "$(dirname "$folder")"
  work=$(mktemp -d "$(dirname "$folder")/fetch.XXXXXX")
  download_kernel "$package" "$work" && replace_folder "$work/kernel" "$folder" || status=1
  rm -rf "$work"
  return $status
}

# Ubuntu has the modules in a package of their own.
download_kernel() {
  local package=$1 work=$2 modules=${1/linux-image-/linux-modules-}
  (
    cd "$work" && apt-get -qq download "$package" || exit 1
    if [ -n "$(apt-cache show --no-all-versions "$modules" 2>/dev/null)" ]; then
      apt-get -qq download "$modules" || exit 1
    fi
  ) && unpack_kernel "$work"/*.deb "$work/kernel"
}

replace_folder() {
  rm -rf "$2" && mv "$1" "$2"
}

unpack_kernel() {
  local folder=${!#} debs=("${@:1:$#-1}") deb image modules
  rm -rf "$folder" && mkdir -p "$folder/unpacked" || return
  for deb in "${debs[@]}"; do dpkg-deb -x "$deb" "$folder/unpacked" || return; done
  image=$(find "$folder/unpacked" -path '*/boot/vmlinuz-*' -type f | head -n 1)
  modules=$(find "$folder/unpacked" -path '*/lib/modules/*/kernel' -type d | head -n 1)
  if [ -z "$image" ] || [ -z "$modules" ]; then
    printf 'no kernel image with its modules is in %s\n' "${debs[*]}" >&2
    return 1
  fi
  mv "$image" "$folder/bzImage" && mv "$modules" "$folder/modules" && rm -rf "$folder/unpacked"
}

# word_at FILE OFFSET BYTES: a little-endian number.
word_at() { od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' \n'; }

# Offsets of the setup header: Linux's Documentation/arch/x86/boot.rst (setup_sects, payload_offset,
# payload_length). All but gzip have four bytes of the unpacked size behind the packed data, for
# which their programs may complain.
extract_vmlinux() {
  local image=$1 out=$2 sectors offset length magic unpack
  sectors=$(word_at "$image" $((0x1f1)) 1)
  [ "$sectors" -gt 0 ] || sectors=4
  offset=$(($(word_at "$image" $((0x248)) 4) + (sectors + 1) * 512))
  length=$(word_at "$image" $((0x24c)) 4)
  magic=$(od -An -v -t x1 -j "$offset" -N 4 "$image" | tr -d ' \n')
  case $magic in
    1f8b*) unpack=gzip ;;
    fd377a58) unpack=xz length=$((length - 4)) ;;
    28b52ffd) unpack=zstd length=$((length - 4)) ;;
    02214c18) unpack=lz4 length=$((length - 4)) ;;
    *)
      printf '%s: packed in a way not known here (%s)\n' "$image" "$magic" >&2
      return 1
      ;;
  esac
  if ! command -v "$unpack" >/dev/null; then
    printf '%s is packed with %s, which is not installed\n' "$image" "$unpack" >&2
    return 1
  fi
  tail -c "+$((offset + 1))" "$image" | head -c "$length" | "$unpack" -dc >"$out" || true
  if [ "$(head -c 4 "$out" | od -An -t x1 | tr -d ' \n')" != 7f454c46 ]; then
    printf '%s: what %s unpacked is no ELF image\n' "$image" "$unpack" >&2
    return 1
  fi
}
