// What this host can give to a guest, asked of KVM.
#pragma once
#include "vmm/x86/capabilities.h"
#include "vmm/x86/cpu_profile.h"

namespace godwit::vmm::x86 {

// `vcpu`: one that has never run; its CPUID may be set on the way. `supported`: supported_cpuid().
// Failing calls throw std::system_error.
HostCpu probe_host_cpu(const KvmSystem& system, const KvmVcpu& vcpu, const Capabilities& caps,
                       CpuidTable supported);

}  // namespace godwit::vmm::x86
