// Booting an ELF through the PVH entry point.
#pragma once
#include "vmm/base/error.h"
#include "vmm/boot/boot_entry.h"
#include "vmm/boot/boot_request.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm {

// What a PVH kernel takes as command line; Linux cuts a longer one off (COMMAND_LINE_SIZE is 2048
// with the NUL, arch/x86/include/asm/setup.h).
inline constexpr uint64_t kPvhCommandLineLimit = 2047;

// Loads the PT_LOAD segments at their physical addresses and writes hvm_start_info version 1 with
// the memory map, the initrd as module 0, the command line and the RSDP. Sources: Xen's
// docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h (every field is little-endian).
// Contract and errors as load_kernel().
Result<BootEntry> load_pvh_elf(GuestMemory& memory, const BootRequest& request);

}  // namespace godwit::vmm
