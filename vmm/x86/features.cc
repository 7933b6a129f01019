#include "vmm/x86/features.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace godwit::vmm::x86 {
namespace {

constexpr const char* kNone = nullptr;

// clang-format off
constexpr FeatureWord kWords[] = {
    {0x1, 0, Register::kEcx, {
        "pni", "pclmulqdq", "dtes64", "monitor", "ds_cpl", "vmx", "smx", "est",
        "tm2", "ssse3", "cid", "sdbg", "fma", "cx16", "xtpr", "pdcm",
        kNone, "pcid", "dca", "sse4_1", "sse4_2", "x2apic", "movbe", "popcnt",
        "tsc_deadline_timer", "aes", "xsave", "osxsave", "avx", "f16c", "rdrand", "hypervisor"}},
    {0x1, 0, Register::kEdx, {
        "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce",
        "cx8", "apic", kNone, "sep", "mtrr", "pge", "mca", "cmov",
        "pat", "pse36", "pn", "clflush", kNone, "dts", "acpi", "mmx",
        "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe"}},
    {0x6, 0, Register::kEax, {kNone, kNone, "arat"}},
    {0x7, 0, Register::kEbx, {
        "fsgsbase", "tsc_adjust", "sgx", "bmi1", "hle", "avx2", "fdp_excptn_only", "smep",
        "bmi2", "erms", "invpcid", "rtm", "cqm", "zero_fcs_fds", "mpx", "rdt_a",
        "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma", kNone, "clflushopt",
        "clwb", "intel_pt", "avx512pf", "avx512er", "avx512cd", "sha_ni", "avx512bw", "avx512vl"}},
    {0x7, 0, Register::kEcx, {
        "prefetchwt1", "avx512vbmi", "umip", "pku", "ospke", "waitpkg", "avx512_vbmi2", "shstk",
        "gfni", "vaes", "vpclmulqdq", "avx512_vnni", "avx512_bitalg", "tme", "avx512_vpopcntdq",
        kNone, "la57", kNone, kNone, kNone, kNone, kNone, "rdpid", kNone,
        "bus_lock_detect", "cldemote", kNone, "movdiri", "movdir64b", "enqcmd", "sgx_lc", "pks"}},
    {0x7, 0, Register::kEdx, {
        kNone, kNone, "avx512_4vnniw", "avx512_4fmaps", "fsrm", kNone, kNone, kNone,
        "avx512_vp2intersect", "srbds_ctrl", "md_clear", kNone, kNone, kNone, "serialize", kNone,
        "tsxldtrk", kNone, "pconfig", "arch_lbr", "ibt", kNone, "amx_bf16", "avx512_fp16",
        "amx_tile", "amx_int8", "spec_ctrl", "intel_stibp", "flush_l1d", "arch_capabilities",
        "core_capabilities", "ssbd"}},
    {0x7, 1, Register::kEax, {
        "sha512", "sm3", "sm4", kNone, "avx_vnni", "avx512_bf16", "lass", "cmpccxadd",
        kNone, kNone, "fzrm", "fsrs", "fsrc", kNone, kNone, kNone,
        kNone, kNone, "lkgs", kNone, kNone, "amx_fp16", kNone, "avx_ifma", kNone, kNone, "lam"}},
    {0x7, 1, Register::kEdx, {
        kNone, kNone, kNone, kNone, "avx_vnni_int8", "avx_ne_convert", kNone, kNone,
        "amx_complex", kNone, "avx_vnni_int16", kNone, kNone, kNone, "prefetchi", kNone,
        kNone, kNone, kNone, "avx10"}},
    {0x7, 2, Register::kEdx, {
        "intel_psfd", "ipred_ctrl", "rrsba_ctrl", "ddpd_u", "bhi_ctrl", "mcdt_no"}},
    {0xd, 1, Register::kEax, {"xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd"}},
    {0x80000001, 0, Register::kEcx, {
        "lahf_lm", "cmp_legacy", "svm", "extapic", "cr8_legacy", "abm", "sse4a", "misalignsse",
        "3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt", kNone, "lwp",
        "fma4", "tce", kNone, "nodeid_msr", kNone, "tbm", "topoext", "perfctr_core",
        "perfctr_nb", kNone, "bpext", "ptsc", "perfctr_llc", "mwaitx"}},
    {0x80000001, 0, Register::kEdx, {
        kNone, kNone, kNone, kNone, kNone, kNone, kNone, kNone,
        kNone, kNone, kNone, "syscall", kNone, kNone, kNone, kNone,
        kNone, kNone, kNone, "mp", "nx", kNone, "mmxext", kNone,
        kNone, "fxsr_opt", "pdpe1gb", "rdtscp", kNone, "lm", "3dnowext", "3dnow"}},
    {0x80000007, 0, Register::kEdx, {
        kNone, kNone, kNone, kNone, kNone, kNone, kNone, kNone, "invtsc"}},
    {0x80000008, 0, Register::kEbx, {
        "clzero", "irperf", "xsaveerptr", kNone, "rdpru", kNone, kNone, kNone,
        kNone, "wbnoinvd", kNone, kNone, "ibpb", kNone, "ibrs", "stibp",
        "ibrs_always_on", "stibp_always_on", "ibrs_preferred", "ibrs_same_mode", "no_efer_lmsle",
        kNone, kNone, "amd_ppin", "amd_ssbd", "virt_ssbd", "amd_ssb_no", "cppc",
        "amd_psfd", "btc_no", "ibpb_ret"}},
    {0x8000000a, 0, Register::kEdx, {"npt", "lbrv", "svm_lock", "nrip_save"}},
    {0x80000021, 0, Register::kEax, {
        "no_nested_data_bp", "wrmsr_non_serializing", "lfence_rdtsc", "smm_page_cfg_lock",
        kNone, kNone, "null_sel_clr_base", kNone, "autoibrs", "no_smm_ctl_msr",
        "fsrs_amd", "fsrc_amd", kNone, "prefetch_ctl_msr", kNone, kNone,
        kNone, "cpuid_user_dis", "eprs", kNone, kNone, kNone, kNone, kNone,
        "eraps", kNone, kNone, "sbpb", "ibpb_brtype", "srso_no", "srso_user_kernel_no"}},
    {0x40000001, 0, Register::kEax, {
        "kvm_clocksource", "kvm_nop_io_delay", "kvm_mmu_op", "kvm_clocksource2", "kvm_async_pf",
        "kvm_steal_time", "kvm_pv_eoi", "kvm_pv_unhalt", kNone, "kvm_pv_tlb_flush",
        "kvm_async_pf_vmexit", "kvm_pv_send_ipi", "kvm_poll_control", "kvm_pv_sched_yield",
        "kvm_async_pf_int", "kvm_msi_ext_dest_id", "kvm_hc_map_gpa_range",
        "kvm_migration_control", kNone, kNone, kNone, kNone, kNone, kNone,
        "kvm_clocksource_stable"}},
};
// clang-format on

constexpr const char* kRegisterNames[] = {"EAX", "EBX", "ECX", "EDX"};

std::string place_of(const FeatureWord& word, unsigned bit) {
  return fmt::format("CPUID {:x}.{:x} {} bit {}", word.function, word.index,
                     kRegisterNames[static_cast<size_t>(word.which)], bit);
}

// "SSE4.2", "sse4-2" and "sse4_2" are one.
std::string letters_of(std::string_view name) {
  std::string letters;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') letters += static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) letters += c;
  }
  return letters;
}

// How many letters must be changed, added or left out to come from one to the other.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

}  // namespace

std::span<const FeatureWord> feature_words() {
  return kWords;
}

std::string short_feature_name(const FeatureWord& word, unsigned bit) {
  if (word.names[bit] != nullptr) return word.names[bit];
  return place_of(word, bit);
}

std::string feature_name(const FeatureWord& word, unsigned bit) {
  if (word.names[bit] == nullptr) return place_of(word, bit);
  return fmt::format("{} ({})", word.names[bit], place_of(word, bit));
}

bool FeatureBit::in(const CpuidTable& table) const {
  return (value_of(table, word->function, word->index, word->which) >> bit & 1) != 0;
}

bool FeatureBit::clear(CpuidTable& table) const {
  if (!in(table)) return false;
  CpuidEntry* entry = find_entry(table, word->function, word->index);
  entry->set(word->which, entry->get(word->which) & ~(uint32_t{1} << bit));
  return true;
}

std::optional<FeatureBit> find_feature(std::string_view name) {
  for (const FeatureWord& word : kWords) {
    for (unsigned bit = 0; bit < 32; ++bit) {
      if (word.names[bit] != nullptr && name == word.names[bit]) return FeatureBit{&word, bit};
    }
  }
  return std::nullopt;
}

bool has_feature(const CpuidTable& table, std::string_view name) {
  const auto feature = find_feature(name);
  return feature && feature->in(table);
}

std::vector<std::string> similar_features(std::string_view name) {
  constexpr size_t kMost = 5;
  constexpr size_t kLongest = 32;
  if (name.empty() || name.size() > kLongest) return {};
  const std::string wanted = letters_of(name);
  std::vector<std::pair<size_t, std::string>> found;
  for (const FeatureWord& word : kWords) {
    for (const char* candidate : word.names) {
      if (candidate == nullptr) continue;
      const std::string letters = letters_of(candidate);
      const bool part = wanted.size() >= 3 && letters.find(wanted) != std::string::npos;
      const size_t far = part && letters != wanted ? 1 : distance(wanted, letters);
      if (far <= std::max<size_t>(1, wanted.size() / 4)) found.emplace_back(far, candidate);
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (size_t i = 0; i < found.size() && i < kMost; ++i) names.push_back(found[i].second);
  return names;
}

}  // namespace godwit::vmm::x86
