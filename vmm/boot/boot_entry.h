// Where and how the boot vCPU starts: what a boot loader hands to the machine.
#pragma once
#include "vmm/base/types.h"

namespace godwit::vmm {

enum class BootProtocol {
  kPvh,      // 32-bit protected mode, paging off, EBX = start info (Xen's PVH ABI)
  kLinux64,  // long mode, identity-mapped first GiBs, RSI = boot_params (Linux 64-bit protocol)
};

struct BootEntry {
  BootProtocol protocol = BootProtocol::kPvh;
  Gpa entry;
  Gpa parameters;  // hvm_start_info or boot_params
};

}  // namespace godwit::vmm
