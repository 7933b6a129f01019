#include "vmm/boot/boot_params.h"

#include <algorithm>

#include "vmm/base/check.h"

namespace godwit::vmm {
namespace {

constexpr size_t kAcpiRsdp = 0x070;               // u64
constexpr size_t kExtRamdiskImage = 0x0c0;        // u32: bits 32 to 63
constexpr size_t kExtRamdiskSize = 0x0c4;         // u32
constexpr size_t kExtCommandLinePointer = 0x0c8;  // u32
constexpr size_t kE820Count = 0x1e8;              // u8
constexpr size_t kE820Table = 0x2d0;
constexpr size_t kE820EntrySize = 20;
constexpr size_t kE820Max = 128;
constexpr uint8_t kUnknownLoader = 0xff;  // no number assigned

constexpr uint32_t low(uint64_t v) {
  return static_cast<uint32_t>(v);
}
constexpr uint32_t high(uint64_t v) {
  return static_cast<uint32_t>(v >> 32);
}

}  // namespace

template <class T>
void BootParams::put(size_t offset, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    bytes_[offset + i] = static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i));
  }
}

BootParams::BootParams(std::span<const std::byte> header) {
  GODWIT_CHECK(header.size() <= setup::kBootParamsHeaderEnd - setup::kSetupSectors,
               "setup header longer than its place");
  std::copy(header.begin(), header.end(), bytes_.begin() + setup::kSetupSectors);
  put<uint8_t>(setup::kTypeOfLoader, kUnknownLoader);
  // Fields of the loader: whatever the file holds there is not ours.
  put<uint32_t>(setup::kRamdiskImage, 0);
  put<uint32_t>(setup::kRamdiskSize, 0);
  put<uint64_t>(setup::kSetupData, 0);
}

void BootParams::set_kernel(Gpa start) {
  GODWIT_CHECK(start.value <= UINT32_MAX, "kernel above 4 GiB");
  put<uint32_t>(setup::kCode32Start, low(start.value));
}

void BootParams::set_command_line(Gpa text) {
  put<uint32_t>(setup::kCommandLinePointer, low(text.value));
  put<uint32_t>(kExtCommandLinePointer, high(text.value));
}

void BootParams::set_initrd(Gpa start, uint64_t size) {
  put<uint32_t>(setup::kRamdiskImage, low(start.value));
  put<uint32_t>(kExtRamdiskImage, high(start.value));
  put<uint32_t>(setup::kRamdiskSize, low(size));
  put<uint32_t>(kExtRamdiskSize, high(size));
}

void BootParams::set_acpi_rsdp(Gpa rsdp) {
  put<uint64_t>(kAcpiRsdp, rsdp.value);
}

void BootParams::set_memory_map(const std::vector<MapEntry>& map) {
  GODWIT_CHECK(map.size() <= kE820Max, "memory map too long");
  put<uint8_t>(kE820Count, static_cast<uint8_t>(map.size()));
  size_t offset = kE820Table;
  for (const MapEntry& entry : map) {
    put<uint64_t>(offset, entry.start.value);
    put<uint64_t>(offset + 8, entry.size.value);
    put<uint32_t>(offset + 16, static_cast<uint32_t>(entry.type));
    offset += kE820EntrySize;
  }
}

}  // namespace godwit::vmm
