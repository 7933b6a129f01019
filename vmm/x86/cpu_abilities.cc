#include "vmm/x86/arch_capabilities.h"
#include "vmm/x86/cpu_baseline.h"
#include "vmm/x86/features.h"
#include "vmm/x86/msrs.h"

namespace godwit::vmm::x86 {

std::vector<std::string> abilities(const HostCpu& cpu) {
  std::vector<std::string> names;
  for (const FeatureWord& word : feature_words()) {
    const uint32_t value = value_of(cpu.best.cpuid, word.function, word.index, word.which);
    for (unsigned bit = 0; bit < 32; ++bit) {
      if ((value >> bit & 1) != 0) names.push_back(short_feature_name(word, bit));
    }
  }
  for (unsigned bit = 0; bit < 64; ++bit) {
    if ((cpu.best.xcr0 >> bit & 1) != 0) {
      names.push_back(fmt::format("{} state (XCR0 bit {})", component_name(bit), bit));
    }
  }
  for (const uint32_t msr : cpu.best.msrs) names.push_back("MSR " + msr_name(msr));
  if (cpu.best.arch_capabilities) {
    for (const std::string& name : virtues(*cpu.best.arch_capabilities)) {
      names.push_back("IA32_ARCH_CAPABILITIES " + name);
    }
  }
  if (cpu.best.tsc_offset) names.emplace_back("a TSC offset per vCPU");
  return names;
}

}  // namespace godwit::vmm::x86
