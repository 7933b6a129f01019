#include "vmm/boot/identify.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace godwit::vmm {
namespace {

using namespace std::string_view_literals;

struct Magic {
  size_t offset;
  std::string_view bytes;
  std::string_view found;
  std::string_view hint;
};

constexpr std::string_view kUnpack = "unpack it first (a bzImage holds its own unpacker)";

// The first match counts. Linux's Documentation/arch/arm64/booting.rst for the arm64 Image.
constexpr Magic kMagics[] = {
    {0, "\x1f\x8b"sv, "gzip data", kUnpack},
    {0,
     "\xfd"sv
     "7zXZ\0"sv,
     "xz data", kUnpack},
    {0, "\x28\xb5\x2f\xfd"sv, "zstd data", kUnpack},
    {0, "\x02\x21\x4c\x18"sv, "lz4 data", kUnpack},
    {0, "\x04\x22\x4d\x18"sv, "lz4 data", kUnpack},
    {0, "BZh"sv, "bzip2 data", kUnpack},
    {0, "\x5d\0\0"sv, "lzma data", kUnpack},
    {0, "070701"sv, "a cpio archive", "it looks like an initrd: give it with --initrd"},
    {0, "070702"sv, "a cpio archive", "it looks like an initrd: give it with --initrd"},
    {0, "QFI\xfb"sv, "a qcow2 disk image", "give the kernel inside it"},
    {0, "hsqs"sv, "a squashfs file system", "give the kernel inside it"},
    {0, "!<arch>\n"sv, "an archive (.a or .deb)", "give the kernel inside it"},
    {0x38, "ARM\x64"sv, "an arm64 Linux Image", "only x86-64 kernels run here"},
    {257, "ustar"sv, "a tar archive", "give the kernel inside it"},
    {0, "MZ"sv, "an EFI program without a Linux setup header",
     "a unified kernel image must be taken apart into kernel and initrd"},
    {510, "\x55\xaa"sv, "a disk image or boot sector", "give the kernel inside it"},
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool has(std::string_view head, size_t offset, std::string_view bytes) {
  return head.size() >= offset && head.substr(offset).starts_with(bytes);
}

// e_machine, from the ELF specification's registry.
std::string machine_name(unsigned machine) {
  switch (machine) {
    case 3:
      return "i386";
    case 20:
      return "ppc";
    case 21:
      return "ppc64";
    case 22:
      return "s390";
    case 40:
      return "arm";
    case 62:
      return "x86-64";
    case 183:
      return "aarch64";
    case 243:
      return "riscv";
    default:
      return fmt::format("machine {}", machine);
  }
}

ImageIdentity identify_elf(std::string_view head) {
  constexpr size_t kIdentEnd = 20;  // e_ident, e_type, e_machine
  if (head.size() < kIdentEnd) return {ImageKind::kOther, "a truncated ELF", "copy it again"};
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(head[i]); };
  const bool little = byte(5) == 1;
  const unsigned machine = byte(little ? 18 : 19) | (byte(little ? 19 : 18) << 8);
  const std::string_view only = "only x86-64 kernels run here";
  if (machine != 3 && machine != 62) {
    return {ImageKind::kOther, fmt::format("an ELF for {}", machine_name(machine)),
            std::string(only)};
  }
  if (byte(4) != 2) {
    return {ImageKind::kOther, "a 32-bit ELF", "only 64-bit x86-64 kernels run here"};
  }
  if (!little) return {ImageKind::kOther, "a big-endian ELF", std::string(only)};
  if (machine != 62) return {ImageKind::kOther, "a 64-bit ELF for i386", std::string(only)};
  return {ImageKind::kElf64X86, "an ELF for x86-64", ""};
}

bool is_text(std::string_view head) {
  return std::all_of(head.begin(), head.end(), [](char c) {
    const auto b = static_cast<uint8_t>(c);
    return b >= 0x20 || b == '\n' || b == '\r' || b == '\t';
  });
}

}  // namespace

ImageIdentity identify(std::span<const std::byte> bytes) {
  const std::string_view head = text_of(bytes);
  if (head.empty()) return {ImageKind::kOther, "an empty file", ""};
  if (has(head, 0,
          "\x7f"
          "ELF"sv))
    return identify_elf(head);
  // Before all others: a bzImage with an EFI stub begins as a PE file.
  if (has(head, 0x202, "HdrS"sv)) return {ImageKind::kBzImage, "a Linux bzImage", ""};
  if (has(head, 0, "#!"sv)) {
    const bool shell = head.substr(0, head.find('\n')).find("sh") != std::string_view::npos;
    return {ImageKind::kOther, shell ? "a shell script" : "a script", ""};
  }
  for (const Magic& magic : kMagics) {
    if (has(head, magic.offset, magic.bytes)) {
      return {ImageKind::kOther, std::string(magic.found), std::string(magic.hint)};
    }
  }
  if (is_text(head)) return {ImageKind::kOther, "a text file", ""};
  return {ImageKind::kOther, "data of a kind unknown here", ""};
}

}  // namespace godwit::vmm
