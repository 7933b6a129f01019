#include "vmm/boot/memory_map.h"

#include "vmm/base/check.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::vmm {
namespace {

MapEntry between(Gpa start, Gpa end, MapType type) {
  return {start, ByteCount{end.value - start.value}, type};
}

}  // namespace

std::vector<MapEntry> boot_memory_map(std::span<const MemoryRegion> regions) {
  GODWIT_CHECK(!regions.empty() && regions[0].gpa == Gpa{0} &&
                   regions[0].size.value > kHighMemoryStart.value,
               "guest RAM does not begin with more than 1 MiB at 0");
  const Gpa low_end{regions[0].size.value};
  std::vector<MapEntry> map{
      between(Gpa{0}, kLowMemoryEnd, MapType::kRam),
      between(kLowMemoryEnd, kHighMemoryStart, MapType::kReserved),
      between(kHighMemoryStart, low_end, MapType::kRam),
      // Linux uses ECAM only where the map or ACPI reserves it, early on only where the map does.
      {kPciEcam, kPciEcamSize, MapType::kReserved},
      between(kPlatformStart, kHoleEnd, MapType::kReserved),
  };
  for (const MemoryRegion& region : regions.subspan(1)) {
    map.push_back({region.gpa, region.size, MapType::kRam});
  }
  return map;
}

}  // namespace godwit::vmm
