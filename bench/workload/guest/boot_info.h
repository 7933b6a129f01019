// What the VMM says in hvm_start_info (Xen: public/arch-x86/hvm/start_info.h), copied before
// anything else is written, because it may lie in memory that the guest will use.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace godwit::workload {

struct MemoryRange {
  uint64_t start;  // page-aligned
  uint64_t end;
};

inline constexpr size_t kMaxRanges = 32;
inline constexpr size_t kMaxCommandLine = 2048;

struct BootInfo {
  char command_line[kMaxCommandLine];  // NUL-terminated
  MemoryRange ram[kMaxRanges];         // in the map's order
  size_t ram_ranges;
  uint64_t ram_bytes;
};

// nullptr, or what is wrong with the structure.
const char* read_boot_info(uint64_t start_info_gpa, BootInfo& info);

}  // namespace godwit::workload
