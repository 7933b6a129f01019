#include "vmm/x86/feature_rules.h"

#include <algorithm>

#include "vmm/x86/arch_capabilities.h"
#include "vmm/x86/cpu_models.h"
#include "vmm/x86/features.h"
#include "vmm/x86/msrs.h"

namespace godwit::vmm::x86 {
namespace {

constexpr uint32_t kMsrTsxCtrl = 0x122;
constexpr uint32_t kMsrXss = 0xda0;
constexpr uint32_t kLegacyAndHeader = 512 + 64;
constexpr uint32_t kMaxXsaveBytes = 64u << 10;

constexpr uint64_t component(unsigned n) {
  return uint64_t{1} << n;
}

struct Need {
  const char* feature;
  const char* needed;
};
constexpr Need kNeeds[] = {
    {"xsaveopt", "xsave"},
    {"xsavec", "xsave"},
    {"xgetbv1", "xsave"},
    {"xsaves", "xsave"},
    {"xfd", "xsaves"},
    {"avx", "xsave"},
    {"mpx", "xsave"},
    {"pku", "xsave"},
    {"f16c", "avx"},
    {"fma", "avx"},
    {"fma4", "avx"},
    {"xop", "avx"},
    {"vaes", "avx"},
    {"vpclmulqdq", "avx"},
    {"avx2", "avx"},
    {"sha512", "avx2"},
    {"sm3", "avx"},
    {"sm4", "avx2"},
    {"avx_vnni", "avx2"},
    {"avx_vnni_int8", "avx2"},
    {"avx_vnni_int16", "avx2"},
    {"avx_ifma", "avx2"},
    {"avx_ne_convert", "avx2"},
    {"avx512f", "avx2"},
    {"avx512dq", "avx512f"},
    {"avx512ifma", "avx512f"},
    {"avx512pf", "avx512f"},
    {"avx512er", "avx512f"},
    {"avx512cd", "avx512f"},
    {"avx512bw", "avx512f"},
    {"avx512vl", "avx512f"},
    {"avx512vbmi", "avx512f"},
    {"avx512_vbmi2", "avx512f"},
    {"avx512_vnni", "avx512f"},
    {"avx512_bitalg", "avx512f"},
    {"avx512_vpopcntdq", "avx512f"},
    {"avx512_4vnniw", "avx512f"},
    {"avx512_4fmaps", "avx512f"},
    {"avx512_vp2intersect", "avx512f"},
    {"avx512_bf16", "avx512f"},
    {"avx512_fp16", "avx512bw"},
    {"avx10", "avx512f"},
    {"amx_bf16", "amx_tile"},
    {"amx_int8", "amx_tile"},
    {"amx_fp16", "amx_tile"},
    {"amx_complex", "amx_tile"},
    {"ssse3", "pni"},
    {"sse4_1", "ssse3"},
    {"sse4_2", "sse4_1"},
    {"pni", "sse2"},
    {"sse2", "sse"},
    {"aes", "sse2"},
    {"pclmulqdq", "sse2"},
    {"gfni", "sse2"},
    {"sha_ni", "sse2"},
    {"sse4a", "pni"},
    {"3dnowext", "3dnow"},
    {"invpcid", "pcid"},
    {"tsc_deadline_timer", "apic"},
    {"x2apic", "apic"},
};

struct StateNeed {
  const char* feature;
  uint64_t xcr0;
  uint64_t xss;
};
constexpr StateNeed kStateNeeds[] = {
    {"avx", component(2), 0},
    {"mpx", component(3) | component(4), 0},
    {"avx512f", component(5) | component(6) | component(7), 0},
    {"pku", component(9), 0},
    {"amx_tile", component(17) | component(18), 0},
    {"shstk", 0, component(11)},
    {"ibt", 0, component(11)},
};

// Components that are there together or not at all, and what they need (SDM 1, 13.3).
struct Group {
  uint64_t members;
  uint64_t needed;
};
constexpr Group kGroups[] = {
    {component(0), 0},
    {component(1), component(0)},
    {component(2), component(1)},
    {component(3) | component(4), component(0)},
    {component(5) | component(6) | component(7), component(2)},
    {component(17) | component(18), component(0)},
};

bool clear(CpuidTable& table, const char* name) {
  const auto feature = find_feature(name);
  return feature && feature->clear(table);
}

bool saves(const CpuProfile& cpu, uint32_t msr) {
  return std::find(cpu.msrs.begin(), cpu.msrs.end(), msr) != cpu.msrs.end();
}

uint64_t xss_of(const CpuidTable& table) {
  const CpuidEntry* leaf = find_entry(table, 0xd, 1);
  return leaf == nullptr ? 0 : leaf->ecx | uint64_t{leaf->edx} << 32;
}

bool has_layout(const CpuidTable& table, unsigned n, bool supervisor) {
  const CpuidEntry* entry = find_entry(table, 0xd, n);
  if (entry == nullptr || entry->eax == 0 || entry->eax > kMaxXsaveBytes) return false;
  if (supervisor) return (entry->ecx & 1) != 0;
  return (entry->ecx & 1) == 0 && entry->ebx >= kLegacyAndHeader && entry->ebx <= kMaxXsaveBytes;
}

// What is left of XCR0's (or IA32_XSS's) components.
uint64_t whole_components(const CpuidTable& table, uint64_t components, bool supervisor) {
  for (unsigned n = supervisor ? 0 : 2; n < 64; ++n) {
    const bool possible = n >= 2 && n < 63 && has_layout(table, n, supervisor);
    if (!possible) components &= ~component(n);
  }
  if (supervisor) return components;
  if ((components & component(0)) == 0) return 0;
  for (const Group& group : kGroups) {
    const bool whole = (components & group.members) == group.members;
    const bool grounded = (components & group.needed) == group.needed;
    if (!whole || !grounded) components &= ~group.members;
  }
  return components;
}

bool settle_state(CpuProfile& cpu) {
  const CpuidTable before = cpu.cpuid;
  cpu.xcr0 = whole_components(cpu.cpuid, xcr0_of(cpu.cpuid), false);
  uint64_t xss = whole_components(cpu.cpuid, xss_of(cpu.cpuid), true);
  if (!saves(cpu, kMsrXss) || !has_feature(cpu.cpuid, "xsaves")) xss = 0;
  std::erase_if(cpu.cpuid, [&](const CpuidEntry& entry) {
    if (entry.function != 0xd || entry.index < 2) return false;
    return entry.index >= 63 || ((cpu.xcr0 | xss) & component(entry.index)) == 0;
  });
  if (CpuidEntry* leaf = find_entry(cpu.cpuid, 0xd, 0)) {
    leaf->eax = static_cast<uint32_t>(cpu.xcr0);
    leaf->edx = static_cast<uint32_t>(cpu.xcr0 >> 32);
    leaf->ebx = leaf->ecx = cpu.xcr0 == 0 ? 0 : xsave_bytes_of(cpu.cpuid, cpu.xcr0);
  }
  if (CpuidEntry* leaf = find_entry(cpu.cpuid, 0xd, 1)) {
    leaf->ecx = static_cast<uint32_t>(xss);
    leaf->edx = static_cast<uint32_t>(xss >> 32);
    const bool compacts = has_feature(cpu.cpuid, "xsavec") || has_feature(cpu.cpuid, "xsaves");
    leaf->ebx = compacts ? compacted_bytes_of(cpu.cpuid, cpu.xcr0 | xss) : 0;
  }
  return cpu.cpuid != before;
}

bool settle_msrs(CpuProfile& cpu) {
  bool changed = false;
  for (const FeatureMsr& msr : feature_msrs()) {
    if (saves(cpu, msr.index)) continue;
    for (const char* feature : msr.features) {
      if (feature != nullptr) changed |= clear(cpu.cpuid, feature);
    }
  }
  if (!cpu.arch_capabilities) changed |= clear(cpu.cpuid, "arch_capabilities");
  if (!has_feature(cpu.cpuid, "arch_capabilities")) cpu.arch_capabilities.reset();
  if (cpu.arch_capabilities && !saves(cpu, kMsrTsxCtrl)) *cpu.arch_capabilities &= ~kArchCapTsxCtrl;
  return changed;
}

bool settle_features(CpuProfile& cpu) {
  bool changed = false;
  for (const Need& need : kNeeds) {
    if (!has_feature(cpu.cpuid, need.needed)) changed |= clear(cpu.cpuid, need.feature);
  }
  const uint64_t xss = xss_of(cpu.cpuid);
  for (const StateNeed& need : kStateNeeds) {
    if ((cpu.xcr0 & need.xcr0) == need.xcr0 && (xss & need.xss) == need.xss) continue;
    changed |= clear(cpu.cpuid, need.feature);
  }
  return changed;
}

// The components of `name` go with it, unless another feature lives in them.
void remove_state(CpuProfile& cpu, std::string_view name) {
  uint64_t xcr0 = 0, xss = 0;
  for (const StateNeed& need : kStateNeeds) {
    if (name == need.feature) xcr0 |= need.xcr0, xss |= need.xss;
  }
  for (const StateNeed& need : kStateNeeds) {
    if (has_feature(cpu.cpuid, need.feature)) xss &= ~need.xss;
  }
  if (CpuidEntry* leaf = find_entry(cpu.cpuid, 0xd, 0)) {
    leaf->eax &= ~static_cast<uint32_t>(xcr0);
    leaf->edx &= ~static_cast<uint32_t>(xcr0 >> 32);
  }
  if (CpuidEntry* leaf = find_entry(cpu.cpuid, 0xd, 1)) leaf->ecx &= ~static_cast<uint32_t>(xss);
}

}  // namespace

uint32_t compacted_bytes_of(const CpuidTable& table, uint64_t components) {
  uint64_t end = kLegacyAndHeader;
  for (unsigned n = 2; n < 63; ++n) {
    if ((components & component(n)) == 0) continue;
    const CpuidEntry* entry = find_entry(table, 0xd, n);
    if (entry == nullptr) continue;
    if ((entry->ecx & 2) != 0) end = (end + 63) & ~uint64_t{63};
    end += entry->eax;
  }
  return static_cast<uint32_t>(std::min<uint64_t>(end, UINT32_MAX));
}

void settle(CpuProfile& cpu) {
  // Each turn takes something away, so it ends.
  while (true) {
    const bool msrs = settle_msrs(cpu);
    const bool state = settle_state(cpu);
    const bool features = settle_features(cpu);
    if (!msrs && !state && !features) return;
  }
}

Result<> check_feature_name(const std::string& name) {
  if (find_feature(name)) return {};
  std::string hint;
  for (const std::string& similar : similar_features(name)) {
    hint += (hint.empty() ? "; did you mean " : ", ") + similar;
  }
  if (hint.empty()) hint = "; names are those of /proc/cpuinfo, `godwit check` shows them";
  return make_error(Errc::kInvalidArgument, "there is no CPU feature '{}'{}", name, hint);
}

Result<> remove_features(CpuProfile& cpu, std::span<const std::string> names) {
  for (const std::string& name : names) GODWIT_TRY(check_feature_name(name));
  for (const std::string& name : names) {
    if (clear(cpu.cpuid, name.c_str())) remove_state(cpu, name);
  }
  settle(cpu);
  return {};
}

}  // namespace godwit::vmm::x86
