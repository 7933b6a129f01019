// The fixed places of guest memory at boot, one map for all who write there: the kernel loaders
// (start info, boot_params, command line), the x86 set-up of the boot vCPU (GDT, page tables) and
// the board (ACPI tables).
//
//   0x00000  0x00500  real-mode vectors and BIOS data area: left zero
//   0x00500  0x00600  GDT of the boot vCPU                               vmm/x86
//   0x06000  0x06040  hvm_start_info (PVH)                               vmm/boot
//   0x06040  0x06800  its module list
//   0x06800  0x07000  its memory map
//   0x07000  0x08000  boot_params, "zero page" (Linux 64-bit protocol)   vmm/boot
//   0x09000  0x0a000  PML4  (Linux 64-bit protocol only)                 vmm/x86
//   0x0a000  0x0b000  PDPT
//   0x0b000  0x0f000  4 page directories: 4 GiB mapped to themselves by 2 MiB pages
//   0x20000  0x30000  kernel command line, NUL-terminated                vmm/boot
//   0x30000  0x9fc00  free: AP trampolines of the guest
//   0x9fc00  0xa0000  EBDA                                               reserved in the map
//   0xa0000  0xe0000  VGA window and option ROMs                         reserved
//   0xe0000 0x100000  ACPI: RSDP and tables (where a BIOS would have them), firmware; reserved
//   1 MiB    ...      the kernel; the initrd ends as high under the hole as it may
//   3 GiB    4 GiB    no RAM (vmm/memory/guest_memory.h):
//     0xc0000000 0xe0000000  BARs of PCI functions
//     0xe0000000 0xe0100000  PCI configuration space of bus 0 (ECAM), reserved in the map
//     0xfec00000 4 GiB       IOAPIC, LAPIC, KVM's own pages, firmware; reserved
//   4 GiB    ...      the rest of RAM
//
// All of it is ordinary RAM to the host. A kernel may not be loaded below 0x30000, nor between
// 0x9fc00 and 1 MiB.
#pragma once
#include "vmm/base/types.h"

namespace godwit::vmm {

inline constexpr Gpa kBootGdt{0x500};
inline constexpr ByteCount kBootGdtSize{0x100};

inline constexpr Gpa kPvhStartInfo{0x6000};
inline constexpr Gpa kPvhModuleList{0x6040};
inline constexpr Gpa kPvhMemoryMap{0x6800};
inline constexpr Gpa kZeroPage{0x7000};

inline constexpr Gpa kBootPml4{0x9000};
inline constexpr Gpa kBootPdpt{0xa000};
inline constexpr Gpa kBootPageDirectories{0xb000};
inline constexpr uint32_t kBootPageDirectoryCount = 4;  // one per GiB

inline constexpr Gpa kCommandLine{0x20000};
inline constexpr ByteCount kCommandLineSpace{0x10000};  // the NUL included
inline constexpr Gpa kBootStructuresEnd{0x30000};

inline constexpr Gpa kLowMemoryEnd{0x9fc00};  // the EBDA begins
inline constexpr Gpa kAcpiTables{0xe0000};
inline constexpr ByteCount kAcpiTablesSpace{0x20000};
inline constexpr Gpa kHighMemoryStart{0x100000};

inline constexpr Gpa kPciWindow{0xc0000000};
inline constexpr ByteCount kPciWindowSize{0x20000000};
inline constexpr Gpa kPciEcam{0xe0000000};  // one bus: 32 devices of 8 functions of 4 KiB
inline constexpr ByteCount kPciEcamSize{0x100000};

inline constexpr Gpa kPlatformStart{0xfec00000};  // IOAPIC; to the end of the hole

}  // namespace godwit::vmm
