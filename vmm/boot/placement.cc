#include "vmm/boot/placement.h"

#include <algorithm>

#include "vmm/boot/boot_layout.h"

namespace godwit::vmm {
namespace {

constexpr bool overlaps(Extent a, Extent b) {
  return a.start < b.end && b.start < a.end;
}

const MemoryRegion* region_of(const GuestMemory& memory, Gpa gpa) {
  for (const MemoryRegion& region : memory.regions()) {
    if (gpa >= region.gpa && gpa.value - region.gpa.value < region.size.value) return &region;
  }
  return nullptr;
}

constexpr uint64_t mib_up(uint64_t bytes) {
  return (bytes >> 20) + ((bytes & 0xfffff) != 0 ? 1 : 0);
}

}  // namespace

Result<Extent> check_kernel_extent(const GuestMemory& memory, Gpa start, uint64_t size,
                                   std::string_view what) {
  if (size == 0 || start.value + size < start.value) {
    return make_error(Errc::kCorrupt, "{} has an impossible place: {:#x}+{:#x}", what, start.value,
                      size);
  }
  const Extent extent{start, start + size};
  if (start < kBootStructuresEnd || overlaps(extent, {kLowMemoryEnd, kHighMemoryStart})) {
    return make_error(Errc::kInvalidArgument,
                      "{} wants {:#x} to {:#x}, which the boot structures (below {:#x}) or the "
                      "firmware's area ({:#x} to {:#x}) need: link it at 1 MiB or above",
                      what, start.value, extent.end.value, kBootStructuresEnd.value,
                      kLowMemoryEnd.value, kHighMemoryStart.value);
  }
  const MemoryRegion* region = region_of(memory, start);
  if (region == nullptr || size > region->size.value - (start.value - region->gpa.value)) {
    return make_error(Errc::kInvalidArgument,
                      "{} does not fit in {} MiB of guest memory: it needs {:#x} to {:#x} "
                      "({} MiB); give the guest more --memory",
                      what, memory.size().value >> 20, start.value, extent.end.value, mib_up(size));
  }
  return extent;
}

Result<> check_command_line(std::string_view command_line, uint64_t limit) {
  limit = std::min(limit, kCommandLineSpace.value - 1);
  if (command_line.size() > limit) {
    return make_error(Errc::kInvalidArgument,
                      "the kernel command line of {} bytes is longer than the {} allowed",
                      command_line.size(), limit);
  }
  if (const size_t nul = command_line.find('\0'); nul != std::string_view::npos) {
    return make_error(Errc::kInvalidArgument,
                      "the kernel command line holds a NUL byte at position {}", nul);
  }
  return {};
}

Result<> write_command_line(GuestMemory& memory, std::string_view command_line) {
  GODWIT_TRY(memory.write(kCommandLine, std::as_bytes(std::span(command_line))));
  const std::byte nul{0};
  return memory.write(kCommandLine + command_line.size(), {&nul, 1});
}

std::optional<Gpa> find_place_below(const GuestMemory& memory, Gpa end, uint64_t size,
                                    std::span<const Extent> taken) {
  const auto regions = memory.regions();
  for (auto region = regions.rbegin(); region != regions.rend(); ++region) {
    const uint64_t bottom = std::max(region->gpa, kHighMemoryStart).value;
    uint64_t top = std::min(end.value, region->gpa.value + region->size.value);
    // Each round ends or moves below one more of the extents: at most taken.size() + 1 of them.
    while (top > bottom && top - bottom >= size) {
      const uint64_t start = (top - size) & ~(kPageSize - 1);
      if (start < bottom) break;
      const Extent candidate{Gpa{start}, Gpa{start + size}};
      const auto hit = std::find_if(taken.begin(), taken.end(),
                                    [&](const Extent& e) { return overlaps(candidate, e); });
      if (hit == taken.end()) return candidate.start;
      top = std::min(top, hit->start.value);
    }
  }
  return std::nullopt;
}

Error initrd_does_not_fit(const GuestMemory& memory, const Image& initrd, Gpa end,
                          std::span<const Extent> kernel) {
  uint64_t kernel_bytes = 0;
  for (const Extent& extent : kernel) kernel_bytes += extent.end.value - extent.start.value;
  return make_error(Errc::kInvalidArgument,
                    "the initrd {} of {} MiB does not fit below {:#x} beside the kernel of {} MiB "
                    "in {} MiB of guest memory: give the guest more --memory or a smaller initrd",
                    initrd.name(), mib_up(initrd.size()), end.value, mib_up(kernel_bytes),
                    memory.size().value >> 20);
}

}  // namespace godwit::vmm
