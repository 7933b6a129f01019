// A CPUID table: what KVM_GET_SUPPORTED_CPUID gives and KVM_SET_CPUID2 takes.
// Meaning of the leaves: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E;
// Documentation/virt/kvm/x86/cpuid.rst for 0x40000000 and up.
#pragma once
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"

namespace godwit::vmm::x86 {

enum class Register : uint8_t { kEax, kEbx, kEcx, kEdx };

struct CpuidEntry {
  uint32_t function = 0;
  uint32_t index = 0;
  bool index_significant = false;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  auto operator<=>(const CpuidEntry&) const = default;

  [[nodiscard]] uint32_t get(Register which) const;
  void set(Register which, uint32_t value);
};

using CpuidTable = std::vector<CpuidEntry>;
inline constexpr uint32_t kMaxCpuidEntries = 256;  // KVM's own limit

CpuidEntry* find_entry(CpuidTable& table, uint32_t function, uint32_t index = 0);
const CpuidEntry* find_entry(const CpuidTable& table, uint32_t function, uint32_t index = 0);
// A register of a leaf; 0 when the table has no such leaf (as the CPU answers).
uint32_t value_of(const CpuidTable& table, uint32_t function, uint32_t index, Register which);
void remove_function(CpuidTable& table, uint32_t function);

// "GenuineIntel", "AuthenticAMD", ...
std::string vendor_of(const CpuidTable& table);
// AMD's and Hygon's leaves differ from Intel's.
bool is_amd(const CpuidTable& table);

uint32_t physical_address_bits(const CpuidTable& table);

// EAX of leaf 1, as people count (SDM 2A, CPUID).
struct Signature {
  uint32_t family = 0, model = 0, stepping = 0;
  auto operator<=>(const Signature&) const = default;
};
Signature signature_of(uint32_t leaf1_eax);

// What KVM can offer to a guest on this host.
CpuidTable supported_cpuid(const KvmSystem& system);
// KVM_SET_CPUID2. 0 or -errno.
int set_cpuid(const KvmVcpu& vcpu, const CpuidTable& table);

}  // namespace godwit::vmm::x86
