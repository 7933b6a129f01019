#include "bench/workload/guest/boot_info.h"

namespace godwit::workload {
namespace {

constexpr uint32_t kStartMagic = 0x336ec578;
constexpr uint32_t kMaxMapEntries = 1024;
constexpr uint64_t kMapped = uint64_t{4} << 30;  // what boot.S maps
constexpr uint32_t kTypeRam = 1;

struct StartInfo {
  uint32_t magic;
  uint32_t version;
  uint32_t flags;
  uint32_t modules;
  uint64_t module_list;
  uint64_t command_line;
  uint64_t rsdp;
  uint64_t memory_map;  // version 1
  uint32_t memory_map_entries;
  uint32_t reserved;
};

struct MapEntry {
  uint64_t address;
  uint64_t size;
  uint32_t type;
  uint32_t reserved;
};

void add_range(const MapEntry& entry, BootInfo& info) {
  if (entry.type != kTypeRam || entry.size > (uint64_t{1} << 52)) return;
  const uint64_t start = (entry.address + 4095) & ~uint64_t{4095};
  const uint64_t end = (entry.address + entry.size) & ~uint64_t{4095};
  if (end <= start || info.ram_ranges == kMaxRanges) return;
  info.ram[info.ram_ranges++] = {start, end};
  info.ram_bytes += end - start;
}

}  // namespace

const char* read_boot_info(uint64_t start_info_gpa, BootInfo& info) {
  const auto* start = reinterpret_cast<const StartInfo*>(start_info_gpa);
  if (start->magic != kStartMagic) return "hvm_start_info has no magic";
  if (start->version < 1) return "hvm_start_info has no memory map (version 0)";
  if (start->command_line >= kMapped || start->memory_map >= kMapped) {
    return "hvm_start_info points above 4 GiB";
  }
  if (start->memory_map_entries > kMaxMapEntries) return "memory map too long";
  if (start->command_line != 0) {
    const auto* line = reinterpret_cast<const char*>(start->command_line);
    size_t n = 0;
    for (; line[n] != '\0'; ++n) {
      if (n + 1 == kMaxCommandLine) return "command line too long";
      info.command_line[n] = line[n];
    }
    info.command_line[n] = '\0';
  }
  const auto* entry = reinterpret_cast<const MapEntry*>(start->memory_map);
  for (uint32_t i = 0; i < start->memory_map_entries; ++i) add_range(entry[i], info);
  return info.ram_ranges == 0 ? "memory map has no RAM" : nullptr;
}

}  // namespace godwit::workload
