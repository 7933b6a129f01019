# shellcheck shell=bash
# Finding and installing what the project needs; configuring a build. Sourced by tools/setup,
# tools/test and tools/demo:
#
#   ensure_packages GROUP...   all of the groups are there afterwards, or the status is 2
#   want_packages GROUP...     the same without insisting: says what goes without
#   configure_build PRESET     cmake --preset PRESET (CMakePresets.json), into build/PRESET
#
# A package counts as there when what it is for works (its probe), wherever it came from. Nothing
# is ever removed or upgraded on purpose. Groups: build run test lint fuzz lab debian bench.

GODWIT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# Tools of the administrator (ip) are not in everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

# group|package|probe|what it is for
GODWIT_PACKAGES='
build|g++|probe_gcc|the compiler, GCC 12 or later
build|cmake|probe_cmake|the build system, 3.25 or later
build|ninja-build|command -v ninja|runs the build
build|pkg-config|command -v pkg-config|finds libraries
build|libboost1.81-dev|probe_boost|Boost 1.81 or later: Asio, Beast, JSON
build|libssl-dev|pkg-config --atleast-version=3 openssl|OpenSSL 3: TLS 1.3
build|liblz4-dev|pkg-config liblz4|compression
build|libspdlog-dev|pkg-config spdlog|logging
build|libfmt-dev|pkg-config fmt|text formatting
build|libcli11-dev|probe_header CLI/CLI.hpp|the command line
build|libxxhash-dev|pkg-config libxxhash|checksums
build|liburing-dev|pkg-config liburing|disks: many requests in one system call
build|libnbd-dev|pkg-config libnbd|disks behind an NBD server
run|iproute2|command -v ip|network namespaces for the demo and the tests
test|libgtest-dev|probe_header gtest/gtest.h|unit tests
test|libgmock-dev|probe_header gmock/gmock.h|unit tests
test|libbenchmark-dev|probe_header benchmark/benchmark.h|micro-benchmarks
test|openssl|command -v openssl|certificates made by another hand
test|acpica-tools|command -v iasl|checks the ACPI tables of guests
test|nbdkit|command -v nbdkit|the NBD server of the disk tests
test|xz-utils|command -v xz|unpacks the kernel that the boot tests load
lint|clang-format-14|find_clang_tool clang-format|the format of the sources
lint|clang-tidy-14|find_clang_tool clang-tidy|static analysis
fuzz|clang|command -v clang++|the compiler of the fuzzers
fuzz|libclang-rt-dev|probe_fuzzer|libFuzzer and the sanitizers of clang
lab|qemu-system-x86|command -v qemu-system-x86_64|emulates the hosts of the lab; the VMM to compare with
lab|socat|command -v socat|talks to serial consoles and sockets
lab|busybox-static|probe_busybox|user space of hosts and guests in the lab
lab|cpio|command -v cpio|makes their initramfs
lab|lz4|command -v lz4|unpacks the kernel for guests in the lab
debian|mmdebstrap|command -v mmdebstrap|makes the root disk of a Debian guest in the lab
debian|e2fsprogs|command -v mkfs.ext4|its file system
debian|nbdkit|command -v nbdkit|the server of that disk
bench|fio|command -v fio|measures disks in guests of the lab
bench|iperf3|command -v iperf3|measures their network
'

probe_header() { printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$1" | g++ -E -x c++ -; }
probe_gcc() { printf '#if __GNUC__ < 12\n#error\n#endif\n' | g++ -E -x c++ -; }
probe_boost() {
  printf '#include <boost/version.hpp>\n#if BOOST_VERSION < 108100\n#error\n#endif\n' |
    g++ -E -x c++ -
}
probe_busybox() {
  local applet applets
  applets=$(busybox --list) || return
  for applet in base64 hostname insmod ip mkfifo nc setsid; do
    grep -qx "$applet" <<<"$applets" || return
  done
}
probe_cmake() {
  local version
  version=$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
  [ "$(printf '3.25\n%s\n' "$version" | sort -V | head -n 1)" = 3.25 ]
}
probe_fuzzer() {
  printf 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }\n' |
    clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null
}

# find_clang_tool NAME: the path of version 14 of it. Others format and judge differently.
find_clang_tool() {
  command -v "$1-14" && return
  "$1" --version 2>/dev/null | grep -Eq 'version 14\.' && command -v "$1"
}

# missing_packages GROUP...: one "package|what it is for" per line.
missing_packages() {
  local group package probe purpose
  while IFS='|' read -r group package probe purpose; do
    [[ " $* " == *" $group "* ]] || continue
    # The probe is a command of the table above.
    $probe >/dev/null 2>&1 </dev/null || printf '%s|%s\n' "$package" "$purpose"
  done < <(sed '/^$/d' <<<"$GODWIT_PACKAGES")
}

has_apt() { command -v apt-get >/dev/null 2>&1 && command -v apt-cache >/dev/null 2>&1; }

# apt_version PACKAGE: what apt would install; empty when it knows none.
apt_version() {
  LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -v none || true
}

# apt_name PACKAGE: its name on this system; distributions number some of them.
apt_name() {
  local version
  if [ -n "$(apt_version "$1")" ] && [ "$1" != libclang-rt-dev ]; then
    printf '%s\n' "$1"
    return
  fi
  case $1 in
    libboost1.81-dev)
      version=$(apt_version libboost-dev)
      if [ -n "$version" ] && dpkg --compare-versions "$version" ge 1.81; then
        printf 'libboost-dev\n'
        return
      fi
      version=$(apt-cache search --names-only '^libboost1\.[0-9]+-dev$' 2>/dev/null |
        sed 's/ .*//' | sort -V | tail -n 1)
      if [ -n "$version" ] && dpkg --compare-versions "${version//[!0-9.]/}" ge 1.81; then
        printf '%s\n' "$version"
        return
      fi
      ;;
    libclang-rt-dev)  # that of the clang which apt installs as "clang"
      version=$(apt_version clang | sed -E 's/^([0-9]+:)?([0-9]+).*/\2/')
      if [ -n "$version" ] && [ -n "$(apt_version "libclang-rt-$version-dev")" ]; then
        printf 'libclang-rt-%s-dev\n' "$version"
        return
      fi
      ;;
  esac
  printf '%s\n' "$1"
}

apt_names() {
  local package
  for package in "$@"; do apt_name "$package"; done
}

print_missing() {
  local package purpose
  while IFS='|' read -r package purpose; do printf '  %-18s %s\n' "$package" "$purpose"; done <<<"$1"
}

# apt_install PACKAGE...: as root. --no-remove: what is there stays, or nothing happens.
apt_install() {
  local names log options=(-qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  export DEBIAN_FRONTEND=noninteractive
  apt-get "${options[@]}" update || printf 'setup: apt-get update failed; trying what apt knows\n'
  mapfile -t names < <(apt_names "$@")
  printf 'setup: apt-get install %s (takes some minutes)\n' "${names[*]}"
  log=$(mktemp /tmp/godwit-apt.XXXXXX)
  if apt-get "${options[@]}" install -y --no-install-recommends --no-remove "${names[@]}" \
    >"$log" 2>&1; then
    rm -f "$log"
    return
  fi
  tail -n 40 "$log"
  rm -f "$log"
  return 1
}

# provide_packages GROUP...: installs what is missing, or tells how. Status 2 when some is missing
# at the end. Talks on stderr: stdout may belong to a program.
provide_packages() {
  local missing names
  missing=$(missing_packages "$@")
  [ -z "$missing" ] && return
  {
    printf 'setup: missing here:\n'
    print_missing "$missing"
    mapfile -t names < <(cut -d'|' -f1 <<<"$missing")
    if ! has_apt; then
      printf 'setup: install these (named as in Debian) with the package manager of this system\n'
      return 2
    fi
    if [ "$(id -u)" -ne 0 ]; then
      mapfile -t names < <(apt_names "${names[@]}")
      printf 'setup: not root, so nothing was installed; run\n'
      printf '  sudo apt-get install --no-install-recommends %s\n' "${names[*]}"
      return 2
    fi
    apt_install "${names[@]}" </dev/null || printf 'setup: apt-get install failed\n'
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return
    printf 'setup: still missing, or too old to serve:\n'
    print_missing "$missing"
    return 2
  } >&2
}

ensure_packages() { provide_packages "$@"; }

want_packages() {
  provide_packages "$@" || printf 'setup: going on without; what needs them is skipped\n' >&2
}

# configure_build PRESET [CMAKE-OPTION...]: warnings are errors where they were weeded out, with the
# compiler of Debian 12; another one must not stop a user's build with new ones.
configure_build() {
  local preset=$1 werror=OFF
  shift
  if [ "$preset" != fuzz ] && [ "$(g++ -dumpversion | cut -d. -f1)" = 12 ]; then werror=ON; fi
  (cd "$GODWIT_ROOT" && cmake --preset "$preset" -DGODWIT_WERROR=$werror "$@")
}
