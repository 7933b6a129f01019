#include "vmm/x86/features.h"

#include <fmt/core.h>

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

}  // namespace

std::span<const FeatureWord> feature_words() {
  return kWords;
}

std::string feature_name(const FeatureWord& word, unsigned bit) {
  const std::string place = fmt::format("CPUID {:x}.{:x} {} bit {}", word.function, word.index,
                                        kRegisterNames[static_cast<size_t>(word.which)], bit);
  if (word.names[bit] == nullptr) return place;
  return fmt::format("{} ({})", word.names[bit], place);
}

bool has_feature(const CpuidTable& table, std::string_view name) {
  for (const FeatureWord& word : kWords) {
    const uint32_t value = value_of(table, word.function, word.index, word.which);
    for (unsigned bit = 0; bit < 32; ++bit) {
      if (word.names[bit] != nullptr && name == word.names[bit]) return (value >> bit & 1) != 0;
    }
  }
  return false;
}

}  // namespace godwit::vmm::x86
