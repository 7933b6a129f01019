// The one place that says which architecture's code a VM uses.
#pragma once

#if defined(__x86_64__)
#include "vmm/x86/arch_x86.h"
namespace godwit::vmm {
using Arch = x86::ArchX86;
}  // namespace godwit::vmm
#else
#error "no architecture code for this machine yet"
#endif
