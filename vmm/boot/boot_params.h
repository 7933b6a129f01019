// Linux's boot_params ("zero page"), written field by field. Sources:
// Documentation/arch/x86/boot.rst (setup header) and zero-page.rst (the rest). All fields are
// little-endian.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/base/types.h"
#include "vmm/boot/memory_map.h"

namespace godwit::vmm {

// Offsets of the setup header: the same in a bzImage and in boot_params.
namespace setup {
inline constexpr size_t kSetupSectors = 0x1f1;  // u8; the header begins here
inline constexpr size_t kSysSize = 0x1f4;       // u32, in units of 16 bytes
inline constexpr size_t kJumpOffset = 0x201;    // u8; kJumpTarget + this is the header's end
inline constexpr size_t kJumpTarget = 0x202;
inline constexpr size_t kVersion = 0x206;                // u16
inline constexpr size_t kTypeOfLoader = 0x210;           // u8
inline constexpr size_t kLoadFlags = 0x211;              // u8
inline constexpr size_t kCode32Start = 0x214;            // u32
inline constexpr size_t kRamdiskImage = 0x218;           // u32
inline constexpr size_t kRamdiskSize = 0x21c;            // u32
inline constexpr size_t kCommandLinePointer = 0x228;     // u32
inline constexpr size_t kInitrdAddressMax = 0x22c;       // u32
inline constexpr size_t kAlignment = 0x230;              // u32
inline constexpr size_t kRelocatable = 0x234;            // u8
inline constexpr size_t kXLoadFlags = 0x236;             // u16
inline constexpr size_t kCommandLineSize = 0x238;        // u32
inline constexpr size_t kSetupData = 0x250;              // u64
inline constexpr size_t kPreferredAddress = 0x258;       // u64
inline constexpr size_t kInitSize = 0x260;               // u32
inline constexpr uint64_t kShortestEnd = 0x264;          // of a header with all that is used here
inline constexpr uint64_t kBootParamsHeaderEnd = 0x290;  // where boot_params goes on with others
inline constexpr uint64_t kLongestEnd = kJumpTarget + 0xff;
}  // namespace setup

class BootParams {
 public:
  // `header`: the image's own, from setup::kSetupSectors on, at most to kBootParamsHeaderEnd.
  explicit BootParams(std::span<const std::byte> header);

  void set_kernel(Gpa start);       // below 4 GiB
  void set_command_line(Gpa text);  // of a NUL-terminated string
  void set_initrd(Gpa start, uint64_t size);
  void set_acpi_rsdp(Gpa rsdp);
  void set_memory_map(const std::vector<MapEntry>& map);  // at most 128 entries

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  template <class T>
  void put(size_t offset, T value);

  std::array<std::byte, kPageSize> bytes_{};
};

}  // namespace godwit::vmm
