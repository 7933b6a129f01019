#include "vmm/x86/cpu_models.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "vmm/x86/features.h"

namespace godwit::vmm::x86 {
namespace {

using Names = std::span<const std::string_view>;

constexpr std::string_view kNeverOffered[] = {"vmx",
                                              "svm",
                                              "sgx",
                                              "sgx_lc",
                                              "pdcm",
                                              "perfctr_core",
                                              "perfctr_nb",
                                              "arch_lbr",
                                              "perfctr_llc",
                                              "ibs",
                                              "dtes64",
                                              "dts",
                                              "intel_pt",
                                              "monitor",
                                              "invtsc",
                                              "kvm_mmu_op",
                                              "kvm_msi_ext_dest_id",
                                              "kvm_hc_map_gpa_range",
                                              "kvm_migration_control"};

// In every CPU that reaches x86-64-v2, though the level does not demand it; operating systems are
// seldom tested without.
constexpr std::string_view kBaseline[] = {"fpu",
                                          "vme",
                                          "de",
                                          "pse",
                                          "tsc",
                                          "msr",
                                          "pae",
                                          "mce",
                                          "cx8",
                                          "apic",
                                          "sep",
                                          "mtrr",
                                          "pge",
                                          "mca",
                                          "cmov",
                                          "pat",
                                          "pse36",
                                          "clflush",
                                          "mmx",
                                          "fxsr",
                                          "sse",
                                          "sse2",
                                          "ht",
                                          "syscall",
                                          "nx",
                                          "rdtscp",
                                          "lm",
                                          "cmp_legacy",
                                          "topoext",
                                          "x2apic",
                                          "tsc_deadline_timer",
                                          "hypervisor",
                                          "arat",
                                          "tsc_adjust",
                                          "3dnowprefetch"};

constexpr std::string_view kV2[] = {"pni",    "ssse3",  "cx16",   "sse4_1",
                                    "sse4_2", "popcnt", "lahf_lm"};
constexpr std::string_view kV3[] = {"fma", "movbe", "xsave", "avx", "f16c",
                                    "abm", "bmi1",  "avx2",  "bmi2"};

constexpr uint32_t kSubleafFunctions[] = {0x4,  0x7,  0xd,  0xf,  0x10, 0x12, 0x14, 0x17,
                                          0x18, 0x1d, 0x1e, 0x1f, 0x20, 0x23, 0x24};

bool contains(Names names, const char* name) {
  return name != nullptr && std::find(names.begin(), names.end(), name) != names.end();
}

void clear_features(CpuidTable& table, Names names) {
  for (const FeatureWord& word : feature_words()) {
    CpuidEntry* entry = find_entry(table, word.function, word.index);
    if (entry == nullptr) continue;
    for (unsigned bit = 0; bit < 32; ++bit) {
      if (!contains(names, word.names[bit])) continue;
      entry->set(word.which, entry->get(word.which) & ~(uint32_t{1} << bit));
    }
  }
}

// Keeps kvmclock and its relatives: they are KVM's, not the CPU's.
void keep_only(CpuidTable& table, Names base, Names level, Names upper) {
  for (const FeatureWord& word : feature_words()) {
    CpuidEntry* entry = find_entry(table, word.function, word.index);
    if (entry == nullptr || word.function == 0x40000001) continue;
    uint32_t mask = 0;
    for (unsigned bit = 0; bit < 32; ++bit) {
      const char* name = word.names[bit];
      if (contains(base, name) || contains(level, name) || contains(upper, name)) {
        mask |= uint32_t{1} << bit;
      }
    }
    entry->set(word.which, entry->get(word.which) & mask);
  }
}

void limit_xcr0(CpuidTable& table, uint64_t wanted) {
  const uint64_t xcr0 = xcr0_of(table) & wanted;
  std::erase_if(table, [&](const CpuidEntry& entry) {
    return entry.function == 0xd && entry.index >= 2 &&
           (entry.index >= 63 || (xcr0 >> entry.index & 1) == 0);
  });
  if (CpuidEntry* leaf = find_entry(table, 0xd, 0)) {
    leaf->eax = static_cast<uint32_t>(xcr0);
    leaf->edx = static_cast<uint32_t>(xcr0 >> 32);
    leaf->ebx = leaf->ecx = xsave_bytes_of(table, xcr0);
  }
  if (CpuidEntry* leaf = find_entry(table, 0xd, 1)) leaf->ebx = leaf->ecx = leaf->edx = 0;
}

// Leaves whose every value is about something that is not offered.
void remove_leaves(CpuidTable& table) {
  for (const uint32_t function : {0x12u, 0x14u, 0x8000000au, 0x80000022u, 0x8000001bu}) {
    remove_function(table, function);
  }
  // Architectural PMU: version 0 says that there is none.
  if (CpuidEntry* pmu = find_entry(table, 0xa)) pmu->eax = pmu->ebx = pmu->ecx = pmu->edx = 0;
}

std::vector<std::string> missing_features(const CpuidTable& table, Names names) {
  std::vector<std::string> missing;
  for (const std::string_view name : names) {
    if (!has_feature(table, name)) missing.emplace_back(name);
  }
  return missing;
}

}  // namespace

std::vector<std::string> apply_model(CpuidTable& table, CpuModel model, bool tsc_deadline) {
  if (CpuidEntry* leaf = find_entry(table, 1)) {
    leaf->ecx |= uint32_t{1} << 31;
    if (tsc_deadline) leaf->ecx |= uint32_t{1} << 24;
    // OSXSAVE follows CR4; KVM keeps it.
    leaf->ecx &= ~(uint32_t{1} << 27);
  }
  remove_leaves(table);
  clear_features(table, kNeverOffered);
  for (CpuidEntry& entry : table) {
    entry.index_significant |= std::find(std::begin(kSubleafFunctions), std::end(kSubleafFunctions),
                                         entry.function) != std::end(kSubleafFunctions);
  }
  if (model == CpuModel::kHost) return {};
  auto missing = missing_features(table, kV2);
  if (model == CpuModel::kX86_64_v2) {
    keep_only(table, kBaseline, kV2, {});
    remove_function(table, 0xd);
    return missing;
  }
  const auto missing_v3 = missing_features(table, kV3);
  missing.insert(missing.end(), missing_v3.begin(), missing_v3.end());
  keep_only(table, kBaseline, kV2, kV3);
  limit_xcr0(table, 0x7);  // x87, SSE, AVX
  return missing;
}

uint64_t xcr0_of(const CpuidTable& table) {
  const CpuidEntry* leaf = find_entry(table, 0xd, 0);
  if (leaf == nullptr) return 0;
  return leaf->eax | uint64_t{leaf->edx} << 32;
}

uint32_t xsave_bytes_of(const CpuidTable& table, uint64_t xcr0) {
  constexpr uint32_t kLegacyAndHeader = 512 + 64;
  uint64_t end = kLegacyAndHeader;
  for (const CpuidEntry& entry : table) {
    if (entry.function != 0xd || entry.index < 2 || entry.index >= 63) continue;
    if ((xcr0 >> entry.index & 1) == 0) continue;
    end = std::max(end, uint64_t{entry.ebx} + entry.eax);
  }
  return static_cast<uint32_t>(std::min<uint64_t>(end, UINT32_MAX));
}

}  // namespace godwit::vmm::x86
