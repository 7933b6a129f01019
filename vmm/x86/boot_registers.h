// The registers with which the boot vCPU starts.
#pragma once
#include "vmm/base/types.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/vm.h"
#include "vmm/x86/capabilities.h"

namespace godwit::vmm::x86 {

// Places in low guest memory that the boot vCPU's tables take. A boot loader leaves them alone; the
// kernel may use them as soon as it has loaded tables of its own.
//   0x0500  GDT (flat code and data, TSS)
//   0x9000  PML4, 0xa000 PDPT, 0xb000 to 0xefff four page directories: 4 GiB mapped to themselves
//           by 2 MiB pages; long mode only
inline constexpr Gpa kBootGdtPlace{0x500};
inline constexpr Gpa kBootTablesPlace{0x9000};

// kPvh: xen/include/public/arch-x86/hvm/start_info.h: 32-bit protected mode, paging off, flat
//   segments, EBX = start info, interrupts off.
// kLinux64: Documentation/arch/x86/boot.rst, "64-bit Boot Protocol": long mode, identity mapping,
//   CS 0x10 and the data segments 0x18, RSI = boot_params, interrupts off.
// Writes the tables into guest memory. Errors: an entry outside RAM (or above 4 GiB, where neither
// protocol can start).
Result<> set_boot_registers(const KvmVcpu& vcpu, GuestMemory& memory, const BootEntry& entry);

// MTRRs and the like as firmware leaves them, on every vCPU alike: an operating system compares
// them. An MSR that this KVM does not have is no loss to a guest.
void set_firmware_msrs(const KvmVcpu& vcpu);

}  // namespace godwit::vmm::x86
