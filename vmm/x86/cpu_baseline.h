// The CPU that several hosts can give: `godwit cpu-baseline`.
#pragma once
#include <string>
#include <vector>

#include "vmm/x86/cpu_profile.h"

namespace godwit::vmm::x86 {

// What is compared and combined: `cpu` without what differs from vCPU to vCPU (APIC ids, topology:
// set_topology() makes it), without leaves that are all zero (a CPU answers zeros for a leaf that
// it has not), settled (feature_rules.h) and sorted. Of any bytes that decode_profile() lets
// through.
HostCpu canonical(HostCpu cpu);

// Without the leaves that are all zero and mean nothing by being there.
CpuidTable without_zeros(CpuidTable table);

// The largest CPU that is no more than either: a guest that has it is acceptable to both, as
// differences() says, except for TSC frequencies that are too far apart (tsc_distance_ppm()).
//
// Feature bits, XCR0, MSRs: what both have. Counts, largest leaves, address bits: the smaller.
// IA32_ARCH_CAPABILITIES: common_arch_capabilities(). Family, model and stepping: the lower, as a
// whole, so that a guest's kernel works around the flaws of the older CPU. Caches: the smaller of
// each level. The brand string and leaves that describe the machine (frequencies, TLBs): if equal.
// State components of XSAVE: where they have one size and offset. TSC: the frequency of a host that
// cannot scale it, else the lower.
//
// Commutative, associative and idempotent, up to canonical(): a baseline may be combined with a
// further host. Errors: kIncompatible for CPUs of different vendors.
Result<HostCpu> common_cpu(const HostCpu& a, const HostCpu& b);

// Everything that can be had or not, by name: "avx512f", "AVX state (XCR0 bit 2)", "MSR IA32_XSS
// (0xda0)", "IA32_ARCH_CAPABILITIES RDCL_NO", "a TSC offset per vCPU". Of a canonical CPU.
std::vector<std::string> abilities(const HostCpu& cpu);

}  // namespace godwit::vmm::x86
