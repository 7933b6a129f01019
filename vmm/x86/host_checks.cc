#include "vmm/x86/host_checks.h"

#include <cpuid.h>
#include <fmt/core.h>

#include "vmm/x86/capabilities.h"
#include "vmm/x86/cpu_models.h"
#include "vmm/x86/features.h"
#include "vmm/x86/host_cpu.h"
#include "vmm/x86/tsc.h"

namespace godwit::vmm::x86 {
namespace {

struct NeededCapability {
  const char* check;
  uint32_t number;
  const char* capability;
  bool required;
  const char* advice;
};

constexpr const char* kNewer = "use a newer kernel: a guest's state cannot be saved without it";
constexpr NeededCapability kCapabilities[] = {
    {"irqchip", KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", true, kNewer},
    {"pit", KVM_CAP_PIT2, "KVM_CAP_PIT2", true, kNewer},
    {"pit-state", KVM_CAP_PIT_STATE2, "KVM_CAP_PIT_STATE2", true, kNewer},
    {"cpuid", KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", true, kNewer},
    {"xsave", KVM_CAP_XSAVE, "KVM_CAP_XSAVE", true, kNewer},
    {"xcrs", KVM_CAP_XCRS, "KVM_CAP_XCRS", true, kNewer},
    {"debug-registers", KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", true, kNewer},
    {"vcpu-events", KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", true, kNewer},
    {"mp-state", KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", true, kNewer},
    {"kvmclock", KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK", true, kNewer},
    {"tsc-frequency-read", KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ", true, kNewer},
    {"sregs2", KVM_CAP_SREGS2, "KVM_CAP_SREGS2", false, "PAE guests may lose cached PDPTRs"},
    {"xsave2", KVM_CAP_XSAVE2, "KVM_CAP_XSAVE2", false, "AMX cannot be offered to guests"},
    {"exception-payload", KVM_CAP_EXCEPTION_PAYLOAD, "KVM_CAP_EXCEPTION_PAYLOAD", false,
     "an exception pending at the moment of a move counts as delivered"},
    {"tsc-deadline-timer", KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER", false,
     "guests use slower timers"},
    {"tsc-scaling", KVM_CAP_TSC_CONTROL, "KVM_CAP_TSC_CONTROL", false,
     "guests move only between hosts whose TSC frequencies are within 250 ppm"},
};

void add_models(const KvmSystem& system, bool tsc_deadline, HostReport& report) {
  constexpr struct {
    const char* name;
    CpuModel model;
  } kModels[] = {{"cpu-x86-64-v2", CpuModel::kX86_64_v2}, {"cpu-x86-64-v3", CpuModel::kX86_64_v3}};
  for (const auto& [name, model] : kModels) {
    CpuidTable table = supported_cpuid(system);
    std::string lacks;
    for (const std::string& feature : apply_model(table, model, tsc_deadline)) {
      lacks += lacks.empty() ? feature : ", " + feature;
    }
    const bool ok = lacks.empty();
    report.checks.push_back({name, ok, false, ok ? "can be offered" : "KVM does not offer " + lacks,
                             ok ? "" : "use --cpu host, and move guests between equal hosts"});
  }
}

bool has_hardware_virtualization() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 5 & 1) != 0) return true;
  return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 2 & 1) != 0;
}

void add_hardware(HostReport& report) {
  const bool ok = has_hardware_virtualization();
  report.checks.push_back(
      {"hardware-virtualization", ok, false,
       ok ? "VT-x or AMD-V" : "neither VT-x nor AMD-V: a software-backed KVM",
       ok ? ""
          : "kernels of unmodified guests may not run or run slowly, and programs in the "
            "guest see this host's CPUID and TSC: move guests between equal hosts only"});
}

// What a CPU has beside what every x86-64-v2 CPU has.
std::string notable_features(CpuidTable table) {
  CpuidTable plain = table;
  apply_model(plain, CpuModel::kX86_64_v2, true);
  std::string names;
  for (const FeatureWord& word : feature_words()) {
    const uint32_t beyond = value_of(table, word.function, word.index, word.which) &
                            ~value_of(plain, word.function, word.index, word.which);
    for (unsigned bit = 0; bit < 32; ++bit) {
      if ((beyond >> bit & 1) == 0 || word.names[bit] == nullptr) continue;
      if (!names.empty()) names += ' ';
      names += word.names[bit];
    }
  }
  return names.empty() ? "none beyond x86-64-v2" : names;
}

void add_cpu(const HostCpu& host, HostReport& report) {
  const CpuidTable& table = host.best.cpuid;
  const Signature signature = signature_of(value_of(table, 1, 0, Register::kEax));
  report.checks.push_back(
      {"cpu", true, false,
       fmt::format("{}, family {}, model {}, stepping {}, {} physical address bits",
                   vendor_of(table), signature.family, signature.model, signature.stepping,
                   physical_address_bits(table)),
       ""});
  report.checks.push_back({"cpu-features", true, false, notable_features(table), ""});
}

}  // namespace

void add_host_checks(const KvmSystem& system, KvmVm& vm, HostReport& report) {
  const Capabilities caps = probe_x86_capabilities(vm);
  for (const NeededCapability& needed : kCapabilities) {
    const bool ok = vm.check_extension(needed.number) > 0;
    report.checks.push_back(
        {needed.check, ok, needed.required, needed.capability, ok ? "" : needed.advice});
  }
  add_hardware(report);
  const CpuidTable table = supported_cpuid(system);
  report.checks.push_back(
      {"xcr0", true, false, fmt::format("{:#x}, {} bytes", xcr0_of(table), caps.xsave_bytes), ""});
  add_models(system, caps.tsc_deadline_timer, report);
  const auto vcpu = vm.create_vcpu(0);
  const HostCpu host = probe_host_cpu(system, *vcpu, caps, table);
  add_cpu(host, report);
  report.cpu = encode_profile(host.best);
  report.tsc_scaling = host.tsc_scaling;
  report.checks.push_back(
      {"tsc-frequency", true, false, fmt::format("{} kHz", host.best.tsc_khz), ""});
  const bool offset = host.best.tsc_offset;
  report.checks.push_back(
      {"tsc-offset", offset, false,
       offset ? "kept per vCPU" : "KVM forgets what is written to KVM_VCPU_TSC_OFFSET",
       offset ? "" : "the TSC that a guest reads jumps when it moves; guests should use kvmclock"});
}

}  // namespace godwit::vmm::x86
