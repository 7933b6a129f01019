// The memory map that a kernel is told at boot.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/base/types.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm {

// The numbers that E820 and the PVH memory map share (ACPI 6.5, table 15.4).
enum class MapType : uint32_t { kRam = 1, kReserved = 2 };

struct MapEntry {
  Gpa start;
  ByteCount size;
  MapType type = MapType::kRam;
};

// Of a guest with these regions (GuestMemory::regions()): in order, without overlap, 5 or 6
// entries. What is in no entry, from the end of low RAM to kPlatformStart, is free for PCI windows.
std::vector<MapEntry> boot_memory_map(std::span<const MemoryRegion> regions);

}  // namespace godwit::vmm
