#include "vmm/x86/arch_x86.h"

#include <algorithm>

#include "vmm/base/check.h"
#include "vmm/kvm/constants.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/x86/arch_capabilities.h"
#include "vmm/x86/boot_registers.h"
#include "vmm/x86/cpu_models.h"
#include "vmm/x86/feature_rules.h"
#include "vmm/x86/features.h"
#include "vmm/x86/host_cpu.h"
#include "vmm/x86/topology.h"
#include "vmm/x86/tsc.h"

namespace godwit::vmm::x86 {
namespace {

constexpr uint32_t kMinXsaveBytes = sizeof(KvmXsaveHead);
constexpr const char* kModelNames[] = {"host", "x86-64-v2", "x86-64-v3"};

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

}  // namespace

Result<> ArchX86::check_capabilities(const KvmVm& vm) {
  const Capabilities caps = probe_x86_capabilities(vm);
  std::vector<std::string> missing;
  const auto need = [&missing](bool have, const char* name) {
    if (!have) missing.emplace_back(name);
  };
  need(vm.check_extension(KVM_CAP_IRQCHIP) > 0, "KVM_CAP_IRQCHIP");
  need(vm.check_extension(KVM_CAP_EXT_CPUID) > 0, "KVM_CAP_EXT_CPUID");
  need(vm.check_extension(KVM_CAP_GET_TSC_KHZ) > 0, "KVM_CAP_GET_TSC_KHZ");
  need(vm.check_extension(KVM_CAP_ADJUST_CLOCK) > 0, "KVM_CAP_ADJUST_CLOCK");
  need(caps.pit2, "KVM_CAP_PIT2, KVM_CAP_PIT_STATE2");
  need(caps.xcrs, "KVM_CAP_XSAVE, KVM_CAP_XCRS");
  need(caps.debug_registers, "KVM_CAP_DEBUGREGS");
  need(caps.vcpu_events, "KVM_CAP_VCPU_EVENTS");
  need(caps.mp_state, "KVM_CAP_MP_STATE");
  if (missing.empty()) return {};
  return make_error(Errc::kUnsupported,
                    "KVM here lacks {}: without it a guest's state cannot be saved; use a newer "
                    "kernel",
                    join(missing, ", "));
}

ArchX86::ArchX86(const KvmSystem& system, KvmVm& vm, GuestMemory& memory)
    : system_(system), vm_(vm), memory_(memory), caps_(probe_x86_capabilities(vm)) {
  // With both, a pending exception or triple fault is told apart from a delivered one
  // (api.rst 7.18 and KVM_CAP_X86_TRIPLE_FAULT_EVENT).
  if (caps_.exception_payload) {
    vm_.enable_capability(KVM_CAP_EXCEPTION_PAYLOAD, 1, "KVM_ENABLE_CAP(EXCEPTION_PAYLOAD)");
  }
  if (caps_.triple_fault_event) {
    vm_.enable_capability(KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1,
                          "KVM_ENABLE_CAP(X86_TRIPLE_FAULT_EVENT)");
  }
  create_chips(vm_);
}

Result<> ArchX86::offer_model(const VmConfig& config, CpuidTable supported, HostCpu host) {
  auto missing = apply_model(supported, config.cpu_model, caps_.tsc_deadline_timer);
  std::erase_if(missing, [&](const std::string& feature) {
    return std::find(config.cpu_without.begin(), config.cpu_without.end(), feature) !=
           config.cpu_without.end();
  });
  if (!missing.empty()) {
    return make_error(Errc::kUnsupported,
                      "this host cannot offer the CPU model {}: it lacks {}; choose another with "
                      "--cpu",
                      kModelNames[static_cast<size_t>(config.cpu_model)], join(missing, ", "));
  }
  profile_ = std::move(host.best);
  profile_.cpuid = std::move(supported);
  profile_.xcr0 = xcr0_of(profile_.cpuid);
  if (!has_feature(profile_.cpuid, "arch_capabilities")) profile_.arch_capabilities.reset();
  return {};
}

Result<> ArchX86::choose_profile(const KvmVcpu& first, const VmConfig& config) {
  const CpuidTable supported = supported_cpuid(system_);
  const HostCpu host = probe_host_cpu(system_, first, caps_, supported);
  tsc_offset_ = host.best.tsc_offset;
  const bool received = !config.cpu.empty();
  if (!received && config.cpu_baseline.empty()) {
    GODWIT_TRY(offer_model(config, supported, host));
  } else {
    GODWIT_ASSIGN(profile_, decode_profile(received ? config.cpu : config.cpu_baseline));
    if (const auto lines = differences(profile_, host); !lines.empty()) {
      return make_error(Errc::kIncompatible, "this host cannot run the {} CPU:\n{}",
                        received ? "guest's" : "baseline's", join(lines, "\n"));
    }
  }
  if (received || config.cpu_without.empty()) return {};
  return remove_features(profile_, config.cpu_without);
}

Result<> ArchX86::set_up_vcpu(const KvmVcpu& vcpu, uint32_t vcpus) const {
  CpuidTable table = profile_.cpuid;
  set_topology(table, vcpu.index(), vcpus);
  if (table.size() > kMaxCpuidEntries) {
    return make_error(Errc::kIncompatible, "the guest's CPUID has {} entries, KVM takes {}",
                      table.size(), kMaxCpuidEntries);
  }
  // CPUID before all else: KVM checks CR4, XCR0 and MSRs against it.
  if (const int result = set_cpuid(vcpu, table); result < 0) {
    return error_from_errno(-result, "KVM refuses the guest's CPUID (KVM_SET_CPUID2)");
  }
  if (const int result = set_tsc_khz(vcpu, profile_.tsc_khz); result < 0) {
    return make_error(Errc::kIncompatible, "KVM refuses a TSC of {} kHz, this host has {} kHz",
                      profile_.tsc_khz, tsc_khz(vcpu));
  }
  // Without it a guest may use what CPUID does not offer it, in MSRs that the next host may lack.
  if (vm_.check_extension(KVM_CAP_ENFORCE_PV_FEATURE_CPUID) > 0) {
    kvm_enable_cap enforce{};
    enforce.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID;
    enforce.args[0] = 1;
    GODWIT_IOCTL(vcpu.fd(), KVM_ENABLE_CAP, &enforce);
  }
  if (vm_.check_extension(KVM_CAP_MCE) > 0) {
    const uint64_t mcg_cap = kMceBanks;
    GODWIT_IOCTL(vcpu.fd(), KVM_X86_SETUP_MCE, &mcg_cap);
  }
  return {};
}

Result<> ArchX86::settle_msrs(const KvmVcpu& first, bool received) {
  MsrBlock usable = MsrBlock::usable(first, profile_.msrs);
  std::vector<uint32_t> indices = usable.indices();
  if (received && indices != profile_.msrs) {
    std::vector<std::string> lines;
    for (const uint32_t index : profile_.msrs) {
      if (std::find(indices.begin(), indices.end(), index) != indices.end()) continue;
      lines.push_back(fmt::format("MSR {} cannot be restored by KVM here", msr_name(index)));
    }
    return make_error(Errc::kIncompatible, "this host cannot run the guest's CPU:\n{}",
                      join(lines, "\n"));
  }
  if (received) return {};
  profile_.msrs.clear();
  for (const kvm_msr_entry& entry : usable.entries()) {
    if (!holds_no_state(profile_.cpuid, entry.index, entry.data)) {
      profile_.msrs.push_back(entry.index);
    }
  }
  return {};
}

// KVM starts with what the host has; a baseline may promise less.
Result<> ArchX86::set_arch_capabilities(Vcpus vcpus) const {
  if (!profile_.arch_capabilities) return {};
  for (const auto& vcpu : vcpus) {
    if (set_msr(*vcpu, kMsrArchCapabilities, *profile_.arch_capabilities)) continue;
    return make_error(Errc::kUnsupported,
                      "KVM here refuses {} = {:#x}: start the guest with --cpu host,"
                      "-arch_capabilities",
                      msr_name(kMsrArchCapabilities), *profile_.arch_capabilities);
  }
  return {};
}

Result<> ArchX86::set_up_vcpus(Vcpus vcpus, const VmConfig& config) {
  GODWIT_CHECK(!vcpus.empty(), "a VM without vCPUs");
  const KvmVcpu& first = *vcpus.front();
  GODWIT_TRY(choose_profile(first, config));
  for (const auto& vcpu : vcpus) {
    GODWIT_TRY(set_up_vcpu(*vcpu, static_cast<uint32_t>(vcpus.size())));
  }
  GODWIT_TRY(set_arch_capabilities(vcpus));
  GODWIT_TRY(settle_msrs(first, !config.cpu.empty()));
  // The profile may be a peer's: it cannot make us leave out what the guest uses.
  const uint32_t used = std::max(
      {kMinXsaveBytes, profile_.xsave_bytes, xsave_bytes_of(profile_.cpuid, profile_.xcr0)});
  states_.clear();
  for (size_t i = 0; i < vcpus.size(); ++i) {
    states_.emplace_back(profile_.msrs, caps_.xsave_bytes);
    states_.back().sent_xsave_bytes = std::min(caps_.xsave_bytes, used);
  }
  return {};
}

Result<> ArchX86::start_at(Vcpus vcpus, const BootEntry& entry) {
  mask_pics(vm_);
  for (const auto& vcpu : vcpus) set_firmware_msrs(*vcpu);
  return set_boot_registers(*vcpus.front(), memory_, entry);
}

void ArchX86::before_entry(const KvmVcpu& vcpu) const noexcept {
  // EINVAL while the guest has not switched kvmclock on: nothing to tell then.
  if (caps_.kvmclock_ctrl) try_ioctl(vcpu.fd(), KVM_KVMCLOCK_CTRL, uintptr_t{0});
}

std::string ArchX86::describe_registers(const KvmVcpu& vcpu) {
  kvm_regs regs{};
  kvm_sregs sregs{};
  if (try_ioctl(vcpu.fd(), KVM_GET_REGS, &regs) < 0 ||
      try_ioctl(vcpu.fd(), KVM_GET_SREGS, &sregs) < 0) {
    return "registers cannot be read";
  }
  return fmt::format(
      "rip {:#x} cs {:#x} rflags {:#x} rsp {:#x} rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} cr0 {:#x} "
      "cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}",
      regs.rip, sregs.cs.selector, regs.rflags, regs.rsp, regs.rax, regs.rbx, regs.rcx, regs.rdx,
      sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer);
}

}  // namespace godwit::vmm::x86
