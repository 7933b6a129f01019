#include "vmm/x86/host_cpu.h"

#include "vmm/x86/arch_capabilities.h"
#include "vmm/x86/cpu_models.h"
#include "vmm/x86/features.h"
#include "vmm/x86/msrs.h"
#include "vmm/x86/tsc.h"

namespace godwit::vmm::x86 {

namespace {

// Nothing where KVM lets no guest have it, though it offers the feature: some software-backed KVMs.
std::optional<uint64_t> arch_capabilities_for_guests(const KvmSystem& system, const KvmVcpu& vcpu,
                                                     const CpuidTable& table) {
  if (!has_feature(table, "arch_capabilities")) return std::nullopt;
  const auto value = host_arch_capabilities(system);
  // Newer KVMs let it be set only when CPUID offers it.
  if (!value || set_cpuid(vcpu, table) < 0) return std::nullopt;
  return set_msr(vcpu, kMsrArchCapabilities, *value) ? value : std::nullopt;
}

}  // namespace

HostCpu probe_host_cpu(const KvmSystem& system, const KvmVcpu& vcpu, const Capabilities& caps,
                       CpuidTable supported) {
  HostCpu host;
  host.best.cpuid = std::move(supported);
  apply_model(host.best.cpuid, CpuModel::kHost, caps.tsc_deadline_timer);
  host.best.xcr0 = xcr0_of(host.best.cpuid);
  host.best.xsave_bytes = caps.xsave_bytes;
  host.best.tsc_khz = tsc_khz(vcpu);
  host.best.tsc_offset = probe_tsc_offset(vcpu, caps);
  host.best.msrs = saved_msr_list(system);
  host.best.arch_capabilities = arch_capabilities_for_guests(system, vcpu, host.best.cpuid);
  host.tsc_scaling = caps.tsc_scaling;
  return host;
}

}  // namespace godwit::vmm::x86
