// Model-specific registers: which of them are a guest's state, and how they are read and written.
#pragma once
#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/x86/cpuid.h"

namespace godwit::vmm::x86 {

inline constexpr uint32_t kMsrTsc = 0x10;
inline constexpr uint32_t kMsrMiscEnable = 0x1a0;
inline constexpr uint32_t kMsrMtrrDefType = 0x2ff;
inline constexpr uint32_t kMsrTscDeadline = 0x6e0;
inline constexpr uint32_t kMsrEfer = 0xc0000080;

// Nothing injects machine checks into our guests, so one bank does (KVM starts with 32).
inline constexpr uint32_t kMceBanks = 1;
inline constexpr uint32_t kMsrMceFirst = 0x400;  // CTL, STATUS, ADDR, MISC of each bank
inline constexpr uint32_t kMsrsPerMceBank = 4;

// "IA32_PAT (0x277)", or the number alone.
std::string msr_name(uint32_t index);

// Why an MSR of KVM's list is not saved with the others; empty for one that is.
std::string_view why_not_saved(uint32_t index);

// The MSRs that exist for certain CPU features alone, and those features (any of them).
struct FeatureMsr {
  uint32_t index;
  const char* features[6];  // the rest null
  // KVM lets a guest write it only when CPUID offers one of them; otherwise whatever CPUID says.
  bool gated = true;
  uint64_t reset = 0;
  bool read_only = false;  // for the guest, and seen only when CPUID offers the feature
};
std::span<const FeatureMsr> feature_msrs();

// Whether an MSR that reads `value` on a vCPU that has never run can hold no state of a guest with
// this CPUID: CPUID does not offer what it is for, so KVM refuses the guest to write it, and it has
// its reset value (or one that the guest could only read). Such a one need not travel, and a host
// without it takes the guest.
bool holds_no_state(const CpuidTable& table, uint32_t index, uint64_t value);

// KVM_GET_MSR_INDEX_LIST without those of why_not_saved(), and the machine-check banks.
std::vector<uint32_t> saved_msr_list(const KvmSystem& system);

// A buffer for KVM_GET_MSRS and KVM_SET_MSRS, kept to be used again.
class MsrBlock {
 public:
  MsrBlock() = default;
  explicit MsrBlock(std::span<const uint32_t> indices);

  [[nodiscard]] std::span<kvm_msr_entry> entries() { return {first(), count_}; }
  [[nodiscard]] size_t size() const { return count_; }
  [[nodiscard]] std::vector<uint32_t> indices();
  // Reads all; throws std::system_error naming the MSR that cannot be read.
  void read(const KvmVcpu& vcpu);
  // Writes all. KVM_SET_MSRS stops at an entry that it refuses: goes on behind it. Returns the
  // index of each refused MSR.
  std::vector<uint32_t> write(const KvmVcpu& vcpu);
  // Those of `indices` that this vCPU can read and take back, with what they read.
  static MsrBlock usable(const KvmVcpu& vcpu, std::span<const uint32_t> indices);

 private:
  kvm_msr_entry* first() { return reinterpret_cast<kvm_msr_entry*>(storage_.data() + 1); }
  // Runs `request` over entries [begin, end); returns how many it did.
  int run(const KvmVcpu& vcpu, unsigned long request, size_t begin, size_t end);

  size_t count_ = 0;
  // A kvm_msrs header and the entries; one word in front of each stretch serves as its header.
  std::vector<uint64_t> storage_;
};

}  // namespace godwit::vmm::x86
