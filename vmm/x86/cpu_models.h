// From what KVM supports on this host to what a guest is offered.
#pragma once
#include "vmm/vm.h"
#include "vmm/x86/cpuid.h"

namespace godwit::vmm::x86 {

// Takes away, in every model, what cannot move to another host with the state that we save:
// nested virtualization, SGX, the PMU, invariant TSC (a guest that may move takes its time from
// kvmclock); sets the hypervisor bit, and TSC deadline where KVM has the timer. With x86-64-v2 and
// v3 leaves only the features of that psABI level and what every CPU of it has, so that the guest
// runs on any host of the same vendor. Returns the names of the features that the level needs and
// this host lacks: empty when the model can be had.
// Levels: System V psABI for AMD64, 3.1.1.
std::vector<std::string> apply_model(CpuidTable& table, CpuModel model, bool tsc_deadline);

// The extended-state components (XCR0) that CPUID leaf 0xd offers.
uint64_t xcr0_of(const CpuidTable& table);
// Bytes of the standard-format XSAVE area for those components (SDM 1, 13.4.3).
uint32_t xsave_bytes_of(const CpuidTable& table, uint64_t xcr0);

}  // namespace godwit::vmm::x86
