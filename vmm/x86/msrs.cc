#include "vmm/x86/msrs.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "vmm/base/check.h"
#include "vmm/kvm/flexible_request.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/x86/features.h"

namespace godwit::vmm::x86 {
namespace {

struct MsrName {
  uint32_t index;
  const char* name;
};

// SDM volume 4; APM volume 2, appendix A; arch/x86/include/uapi/asm/kvm_para.h.
constexpr MsrName kNames[] = {
    {0x10, "IA32_TSC"},
    {0x11, "KVM_WALL_CLOCK"},
    {0x12, "KVM_SYSTEM_TIME"},
    {0x3a, "IA32_FEATURE_CONTROL"},
    {0x3b, "IA32_TSC_ADJUST"},
    {0x48, "IA32_SPEC_CTRL"},
    {0x8b, "IA32_UCODE_REV"},
    {0x9e, "IA32_SMBASE"},
    {0xce, "MSR_PLATFORM_INFO"},
    {0xe1, "IA32_UMWAIT_CONTROL"},
    {0x10a, "IA32_ARCH_CAPABILITIES"},
    {0x122, "IA32_TSX_CTRL"},
    {0x140, "MSR_MISC_FEATURES_ENABLES"},
    {0x174, "IA32_SYSENTER_CS"},
    {0x175, "IA32_SYSENTER_ESP"},
    {0x176, "IA32_SYSENTER_EIP"},
    {0x17a, "IA32_MCG_STATUS"},
    {0x17b, "IA32_MCG_CTL"},
    {0x1a0, "IA32_MISC_ENABLE"},
    {0x1c4, "IA32_XFD"},
    {0x1c5, "IA32_XFD_ERR"},
    {0x1d9, "IA32_DEBUGCTL"},
    {0x277, "IA32_PAT"},
    {0x2ff, "IA32_MTRR_DEF_TYPE"},
    {0x345, "IA32_PERF_CAPABILITIES"},
    {0x4d0, "IA32_MCG_EXT_CTL"},
    {0x6a0, "IA32_U_CET"},
    {0x6a2, "IA32_S_CET"},
    {0x6e0, "IA32_TSC_DEADLINE"},
    {0xd90, "IA32_BNDCFGS"},
    {0xda0, "IA32_XSS"},
    {0x4b564d00, "KVM_WALL_CLOCK_NEW"},
    {0x4b564d01, "KVM_SYSTEM_TIME_NEW"},
    {0x4b564d02, "KVM_ASYNC_PF_EN"},
    {0x4b564d03, "KVM_STEAL_TIME"},
    {0x4b564d04, "KVM_PV_EOI_EN"},
    {0x4b564d05, "KVM_POLL_CONTROL"},
    {0x4b564d06, "KVM_ASYNC_PF_INT"},
    {0x4b564d07, "KVM_ASYNC_PF_ACK"},
    {0xc0000080, "EFER"},
    {0xc0000081, "STAR"},
    {0xc0000082, "LSTAR"},
    {0xc0000083, "CSTAR"},
    {0xc0000084, "SFMASK"},
    {0xc0000102, "KERNEL_GS_BASE"},
    {0xc0000103, "TSC_AUX"},
    {0xc0000104, "AMD64_TSC_RATIO"},
    {0xc0010015, "K7_HWCR"},
    {0xc0010117, "VM_HSAVE_PA"},
    {0xc001011f, "AMD64_VIRT_SPEC_CTRL"},
    {0xc0011029, "AMD64_DE_CFG"},
};

// arch/x86/kvm: kvm_set_msr_common(), vmx_set_msr(), svm_set_msr(). KVM's own are gated once
// KVM_CAP_ENFORCE_PV_FEATURE_CPUID is on, and then cannot even be read: no need to know here.
constexpr FeatureMsr kFeatureMsrs[] = {
    {0x3b, {"tsc_adjust"}},
    {0x48, {"spec_ctrl", "intel_stibp", "ssbd", "ibrs", "stibp", "amd_ssbd"}},
    {0xe1, {"waitpkg"}},
    {0x10a, {"arch_capabilities"}, true, 0, true},
    {0x1c4, {"xfd"}},
    {0x1c5, {"xfd"}},
    {0x6a0, {"shstk", "ibt"}},
    {0x6a2, {"shstk", "ibt"}},
    {0x6a4, {"shstk"}},
    {0x6a5, {"shstk"}},
    {0x6a6, {"shstk"}},
    {0x6a7, {"shstk"}},
    {0x6a8, {"shstk"}},
    {0xd90, {"mpx"}},
    {0xc0000103, {"rdtscp", "rdpid"}},
    {0xc0000104, {"svm"}, true, uint64_t{1} << 32},
    {0xc001011f, {"virt_ssbd"}},
    {0x12, {"kvm_clocksource"}, false},
    {0x4b564d01, {"kvm_clocksource2"}, false},
    {0x4b564d02, {"kvm_async_pf"}, false},
    {0x4b564d03, {"kvm_steal_time"}, false},
    {0x4b564d04, {"kvm_pv_eoi"}, false},
    {0x4b564d05, {"kvm_poll_control"}, false},
    {0x4b564d06, {"kvm_async_pf_int"}, false},
    {0x4b564d07, {"kvm_async_pf_int"}, false},
};
// Features without which these are nothing, which do not need them.
constexpr FeatureMsr kRefiningMsrs[] = {
    {0x122, {"arch_capabilities"}},
    {0xda0, {"xsaves"}},
};

bool unused(const FeatureMsr& msr, const CpuidTable& table, uint64_t value) {
  return msr.gated && (value == msr.reset || msr.read_only) &&
         std::none_of(std::begin(msr.features), std::end(msr.features), [&](const char* feature) {
           return feature != nullptr && has_feature(table, feature);
         });
}

constexpr size_t kMaxPerCall = 255;  // KVM's MAX_IO_MSRS is 256 and exclusive
constexpr size_t kEntryWords = sizeof(kvm_msr_entry) / sizeof(uint64_t);
static_assert(sizeof(KvmMsrsHead) == sizeof(uint64_t));

bool in_range(uint32_t index, uint32_t first, uint32_t last) {
  return index >= first && index <= last;
}

}  // namespace

std::string msr_name(uint32_t index) {
  const auto found = std::find_if(std::begin(kNames), std::end(kNames),
                                  [index](const MsrName& n) { return n.index == index; });
  if (found == std::end(kNames)) return fmt::format("{:#x}", index);
  return fmt::format("{} ({:#x})", found->name, index);
}

std::string_view why_not_saved(uint32_t index) {
  if (index == kMsrTsc) return "travels as TSC offset";
  if (index == kMsrTscDeadline) return "travels by itself, written last";
  // Setting one makes KVM write the time into guest memory. A guest reads it there at once after
  // it has set the MSR and never again, so what counts moves with the memory.
  if (index == 0x11 || index == 0x4b564d00) return "a request, not state";
  if (in_range(index, 0x40000000, 0x400001ff)) return "Hyper-V, not offered to guests";
  if (in_range(index, 0x480, 0x491)) return "nested virtualization, not offered to guests";
  if (index == 0x3a || index == 0xc0010117) return "nested virtualization, not offered to guests";
  // The PMU is not offered (cpu_models.h), so its registers hold nothing.
  if (in_range(index, 0xc1, 0xc8) || in_range(index, 0x186, 0x18d) ||
      in_range(index, 0x309, 0x30b) || in_range(index, 0x38d, 0x390) || index == 0x345 ||
      index == 0x3f1 || in_range(index, 0x4c1, 0x4c8) || in_range(index, 0xc0010000, 0xc0010007) ||
      in_range(index, 0xc0010200, 0xc001020b) || in_range(index, 0xc0000300, 0xc0000303)) {
    return "performance counters, not offered to guests";
  }
  return {};
}

std::span<const FeatureMsr> feature_msrs() {
  return kFeatureMsrs;
}

bool holds_no_state(const CpuidTable& table, uint32_t index, uint64_t value) {
  const auto matches = [&](const FeatureMsr& msr) {
    return msr.index == index && unused(msr, table, value);
  };
  return std::any_of(std::begin(kFeatureMsrs), std::end(kFeatureMsrs), matches) ||
         std::any_of(std::begin(kRefiningMsrs), std::end(kRefiningMsrs), matches);
}

std::vector<uint32_t> saved_msr_list(const KvmSystem& system) {
  constexpr uint32_t kMaxListed = 1024;
  FlexibleRequest<KvmMsrListHead, uint32_t, kMaxListed> list;
  list.head().nmsrs = kMaxListed;
  checked_ioctl(system.fd(), kKvmGetMsrIndexList, &list.head(), "KVM_GET_MSR_INDEX_LIST");
  std::vector<uint32_t> result;
  for (uint32_t i = 0; i < list.head().nmsrs; ++i) {
    if (why_not_saved(list.entry(i)).empty()) result.push_back(list.entry(i));
  }
  // KVM's list leaves out the machine-check banks; ours has one.
  for (uint32_t i = 0; i < kMceBanks * kMsrsPerMceBank; ++i) result.push_back(kMsrMceFirst + i);
  return result;
}

MsrBlock::MsrBlock(std::span<const uint32_t> indices)
    : count_(indices.size()), storage_(1 + kEntryWords * indices.size()) {
  for (size_t i = 0; i < count_; ++i) first()[i].index = indices[i];
}

int MsrBlock::run(const KvmVcpu& vcpu, unsigned long request, size_t begin, size_t end) {
  // The header must lie right in front of the entries: it takes the place of the data of the entry
  // before them for the time of the call.
  uint64_t* header = storage_.data() + kEntryWords * begin;
  const uint64_t kept = *header;
  KvmMsrsHead fields{};
  fields.nmsrs = static_cast<uint32_t>(std::min(end - begin, kMaxPerCall));
  std::memcpy(header, &fields, sizeof(fields));
  const int result = try_ioctl(vcpu.fd(), request, header);
  *header = kept;
  return result;
}

void MsrBlock::read(const KvmVcpu& vcpu) {
  for (size_t done = 0; done < count_;) {
    const int n = run(vcpu, kKvmGetMsrs, done, count_);
    if (n <= 0) {
      throw std::system_error(n < 0 ? -n : EIO, std::generic_category(),
                              "KVM_GET_MSRS of " + msr_name(first()[done].index));
    }
    done += static_cast<size_t>(n);
  }
}

std::vector<uint32_t> MsrBlock::write(const KvmVcpu& vcpu) {
  std::vector<uint32_t> refused;
  for (size_t done = 0; done < count_;) {
    const size_t wanted = std::min(count_ - done, kMaxPerCall);
    const int n = run(vcpu, kKvmSetMsrs, done, count_);
    done += n > 0 ? static_cast<size_t>(n) : 0;
    if (n >= 0 && static_cast<size_t>(n) == wanted) continue;
    refused.push_back(first()[done].index);
    ++done;
  }
  return refused;
}

std::vector<uint32_t> MsrBlock::indices() {
  std::vector<uint32_t> indices;
  for (const kvm_msr_entry& entry : entries()) indices.push_back(entry.index);
  return indices;
}

MsrBlock MsrBlock::usable(const KvmVcpu& vcpu, std::span<const uint32_t> indices) {
  MsrBlock block(indices);
  std::vector<uint32_t> readable;
  for (size_t done = 0; done < block.count_;) {
    const int n = std::max(0, block.run(vcpu, kKvmGetMsrs, done, block.count_));
    for (size_t i = done; i < done + static_cast<size_t>(n); ++i) readable.push_back(indices[i]);
    const size_t wanted = std::min(block.count_ - done, kMaxPerCall);
    done += static_cast<size_t>(n) + (static_cast<size_t>(n) == wanted ? 0 : 1);
  }
  MsrBlock again(readable);
  again.read(vcpu);
  const auto refused = again.write(vcpu);
  std::erase_if(readable, [&](uint32_t index) {
    return std::find(refused.begin(), refused.end(), index) != refused.end();
  });
  MsrBlock usable(readable);
  usable.read(vcpu);
  return usable;
}

}  // namespace godwit::vmm::x86
