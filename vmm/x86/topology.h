// What differs from vCPU to vCPU in CPUID: one package of single-threaded cores, APIC id = index.
#pragma once
#include <cstdint>

#include "vmm/x86/cpuid.h"

namespace godwit::vmm::x86 {

// Patches leaves 1, 4, 0xb, 0x1f, 0x80000001, 0x80000008, 0x8000001d and 0x8000001e for vCPU
// `index` of `vcpus` (1 to kMaxVcpus). A pure function: both hosts come to the same table.
void set_topology(CpuidTable& table, uint32_t index, uint32_t vcpus);

}  // namespace godwit::vmm::x86
