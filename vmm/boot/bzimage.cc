#include "vmm/boot/bzimage.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/boot/boot_layout.h"
#include "vmm/boot/boot_params.h"
#include "vmm/boot/placement.h"

namespace godwit::vmm {
namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kEntry64 = 0x200;
constexpr uint16_t kOldestVersion = 0x020c;  // xloadflags
constexpr uint8_t kLoadedHigh = 1;           // loadflags
constexpr uint16_t kKernel64 = 1;            // xloadflags
constexpr uint16_t kAbove4G = 2;
constexpr uint64_t kLargestAlignment = uint64_t{1} << 30;

template <class... Args>
Error corrupt(const Image& kernel, fmt::format_string<Args...> format, Args&&... args) {
  return make_error(Errc::kCorrupt, "the bzImage {} is damaged: {}", kernel.name(),
                    fmt::vformat(format, fmt::make_format_args(args...)));
}

template <class T>
T field(std::span<const std::byte> head, size_t offset) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<T>(head[offset + i]) << (8 * i));
  }
  return value;
}

Result<> check_protocol(const Image& kernel, std::span<const std::byte> head) {
  const auto version = field<uint16_t>(head, setup::kVersion);
  if (version < kOldestVersion) {
    return make_error(Errc::kUnsupported,
                      "the kernel {} speaks boot protocol {}.{:02}, and 2.12 is needed: give a "
                      "64-bit Linux of version 3.8 or later",
                      kernel.name(), version >> 8, version & 0xff);
  }
  if ((field<uint8_t>(head, setup::kLoadFlags) & kLoadedHigh) == 0) {
    return make_error(Errc::kUnsupported, "the kernel {} is a zImage: give a bzImage",
                      kernel.name());
  }
  if ((field<uint16_t>(head, setup::kXLoadFlags) & kKernel64) == 0) {
    return make_error(Errc::kUnsupported,
                      "the kernel {} has no 64-bit entry point: give an x86-64 kernel",
                      kernel.name());
  }
  return {};
}

Result<> check_header(const Image& kernel, const BzImageHeader& header, uint64_t syssize) {
  if (header.payload_size < syssize * 16 || header.payload_size <= kEntry64) {
    return corrupt(kernel, "{:#x} bytes follow its setup code and {:#x} should: truncated?",
                   header.payload_size, std::max(syssize * 16, kEntry64 + 1));
  }
  if (!std::has_single_bit(header.alignment) || header.alignment > kLargestAlignment) {
    return corrupt(kernel, "it wants to be aligned to {:#x}", header.alignment);
  }
  return {};
}

struct Placement {
  Gpa start;
  uint64_t size = 0;  // what it needs, not only what it has
};

// boot.rst at init_size: a relocatable kernel that is loaded below its preferred address moves
// itself up to it, so lower is never better.
Result<Placement> place_kernel(const GuestMemory& memory, const Image& kernel,
                               const BzImageHeader& header) {
  uint64_t start = header.preferred_address;
  if (header.relocatable) {
    start = std::max(start, kHighMemoryStart.value);
    const uint64_t aligned = (start + header.alignment - 1) & ~uint64_t{header.alignment - 1};
    if (aligned < start) return corrupt(kernel, "it prefers address {:#x}", start);
    start = aligned;
  }
  const Placement place{Gpa{start}, std::max(header.init_size, header.payload_size)};
  GODWIT_TRY(check_kernel_extent(memory, place.start, place.size,
                                 fmt::format("the kernel {}", kernel.name())));
  if (start >= kHoleStart.value) {
    return corrupt(kernel, "it prefers address {:#x}, above the hole", start);
  }
  return place;
}

// As high as the kernel allows, below the hole if that can be.
Result<Gpa> place_initrd(const GuestMemory& memory, const Image& initrd,
                         const BzImageHeader& header, const Extent& kernel) {
  const std::array taken{kernel};
  Gpa limit{std::min(header.initrd_address_max + 1, kHoleStart.value)};
  auto place = find_place_below(memory, limit, initrd.size(), taken);
  if (!place && header.can_be_above_4g) {
    for (const Gpa end : {kHoleStart, Gpa{UINT64_MAX}}) {
      limit = end;
      place = find_place_below(memory, end, initrd.size(), taken);
      if (place) break;
    }
  }
  if (!place) return initrd_does_not_fit(memory, initrd, limit, taken);
  return *place;
}

}  // namespace

Result<BzImageHeader> parse_bzimage(const Image& kernel) {
  GODWIT_ASSIGN(const auto head, kernel.read(0, setup::kLongestEnd));
  GODWIT_TRY(check_protocol(kernel, head));
  const uint64_t end = setup::kJumpTarget + field<uint8_t>(head, setup::kJumpOffset);
  if (end < setup::kShortestEnd) {
    return corrupt(kernel, "its setup header ends at {:#x} instead of {:#x} or later", end,
                   setup::kShortestEnd);
  }
  BzImageHeader header;
  header.version = field<uint16_t>(head, setup::kVersion);
  const auto sectors = field<uint8_t>(head, setup::kSetupSectors);
  header.payload_offset = (uint64_t{sectors == 0 ? uint8_t{4} : sectors} + 1) * kSector;
  header.payload_size = kernel.size() - std::min(kernel.size(), header.payload_offset);
  header.relocatable = field<uint8_t>(head, setup::kRelocatable) != 0;
  header.can_be_above_4g = (field<uint16_t>(head, setup::kXLoadFlags) & kAbove4G) != 0;
  header.alignment = header.relocatable ? field<uint32_t>(head, setup::kAlignment) : 1;
  header.preferred_address = field<uint64_t>(head, setup::kPreferredAddress);
  header.init_size = field<uint32_t>(head, setup::kInitSize);
  header.initrd_address_max = field<uint32_t>(head, setup::kInitrdAddressMax);
  header.command_line_limit = field<uint32_t>(head, setup::kCommandLineSize);
  GODWIT_TRY(check_header(kernel, header, field<uint32_t>(head, setup::kSysSize)));
  const auto stop = static_cast<std::ptrdiff_t>(std::min(end, setup::kBootParamsHeaderEnd));
  header.raw.assign(head.begin() + setup::kSetupSectors, head.begin() + stop);
  return header;
}

Result<BootEntry> load_bzimage(GuestMemory& memory, const BootRequest& request) {
  const Image& kernel = request.kernel;
  GODWIT_ASSIGN(const BzImageHeader header, parse_bzimage(kernel));
  GODWIT_ASSIGN(const Placement place, place_kernel(memory, kernel, header));
  GODWIT_TRY(check_command_line(request.command_line, header.command_line_limit));
  BootParams params(header.raw);
  params.set_kernel(place.start);
  params.set_command_line(kCommandLine);
  params.set_memory_map(boot_memory_map(memory.regions()));
  if (request.acpi_rsdp) params.set_acpi_rsdp(*request.acpi_rsdp);
  std::optional<Gpa> initrd;
  if (request.initrd != nullptr) {
    const Extent taken{place.start, place.start + place.size};
    GODWIT_ASSIGN(initrd, place_initrd(memory, *request.initrd, header, taken));
    params.set_initrd(*initrd, request.initrd->size());
  }

  GODWIT_TRY(kernel.copy_to(memory, place.start, header.payload_offset, header.payload_size));
  if (initrd) GODWIT_TRY(request.initrd->copy_to(memory, *initrd, 0, request.initrd->size()));
  GODWIT_TRY(write_command_line(memory, request.command_line));
  GODWIT_TRY(memory.write(kZeroPage, params.bytes()));
  return BootEntry{BootProtocol::kLinux64, place.start + kEntry64, kZeroPage};
}

}  // namespace godwit::vmm
