#include "vmm/boot/pvh.h"

#include <optional>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/boot/boot_layout.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/memory_map.h"
#include "vmm/boot/placement.h"

namespace godwit::vmm {
namespace {

constexpr uint32_t kStartInfoMagic = 0x336ec578;  // "xEn3", bit 7 of the "E" set
constexpr uint32_t kStartInfoVersion = 1;         // the first with a memory map

Result<std::vector<Extent>> check_segments(const GuestMemory& memory, const Image& kernel,
                                           const PvhElf& elf) {
  std::vector<Extent> extents;
  for (const ElfSegment& segment : elf.segments) {
    const std::string what = fmt::format("segment {} of {}", segment.number, kernel.name());
    GODWIT_ASSIGN(const Extent extent,
                  check_kernel_extent(memory, segment.start, segment.memory_size, what));
    extents.push_back(extent);
  }
  return extents;
}

// hvm_modlist_entry: 32 bytes.
Result<> write_module_list(GuestMemory& memory, Gpa initrd, uint64_t size) {
  ByteWriter out;
  out.u64(initrd.value);
  out.u64(size);
  out.u64(0);  // cmdline_paddr: none
  out.u64(0);  // reserved
  return memory.write(kPvhModuleList, out.view());
}

// hvm_memmap_table_entry: 24 bytes each.
Result<> write_memory_map(GuestMemory& memory, const std::vector<MapEntry>& map) {
  ByteWriter out;
  for (const MapEntry& entry : map) {
    out.u64(entry.start.value);
    out.u64(entry.size.value);
    out.u32(static_cast<uint32_t>(entry.type));
    out.u32(0);  // reserved
  }
  return memory.write(kPvhMemoryMap, out.view());
}

// hvm_start_info: 56 bytes. An address of 0 means "not present".
Result<> write_start_info(GuestMemory& memory, bool initrd, std::optional<Gpa> rsdp,
                          size_t map_entries) {
  ByteWriter out;
  out.u32(kStartInfoMagic);
  out.u32(kStartInfoVersion);
  out.u32(0);  // flags: not the initial domain
  out.u32(initrd ? 1 : 0);
  out.u64(initrd ? kPvhModuleList.value : 0);
  out.u64(kCommandLine.value);
  out.u64(rsdp.value_or(Gpa{0}).value);
  out.u64(kPvhMemoryMap.value);
  out.u32(static_cast<uint32_t>(map_entries));
  out.u32(0);  // reserved
  return memory.write(kPvhStartInfo, out.view());
}

}  // namespace

Result<BootEntry> load_pvh_elf(GuestMemory& memory, const BootRequest& request) {
  GODWIT_ASSIGN(const PvhElf elf, parse_pvh_elf(request.kernel));
  GODWIT_ASSIGN(const auto extents, check_segments(memory, request.kernel, elf));
  GODWIT_TRY(check_command_line(request.command_line, kPvhCommandLineLimit));
  std::optional<Gpa> initrd;
  if (request.initrd != nullptr) {
    initrd = find_place_below(memory, kHoleStart, request.initrd->size(), extents);
    if (!initrd) return initrd_does_not_fit(memory, *request.initrd, kHoleStart, extents);
  }

  for (const ElfSegment& segment : elf.segments) {
    GODWIT_TRY(
        request.kernel.copy_to(memory, segment.start, segment.file_offset, segment.file_size));
  }
  if (initrd) {
    GODWIT_TRY(request.initrd->copy_to(memory, *initrd, 0, request.initrd->size()));
    GODWIT_TRY(write_module_list(memory, *initrd, request.initrd->size()));
  }
  GODWIT_TRY(write_command_line(memory, request.command_line));
  const auto map = boot_memory_map(memory.regions());
  GODWIT_TRY(write_memory_map(memory, map));
  GODWIT_TRY(write_start_info(memory, initrd.has_value(), request.acpi_rsdp, map.size()));
  return BootEntry{BootProtocol::kPvh, elf.entry, kPvhStartInfo};
}

}  // namespace godwit::vmm
