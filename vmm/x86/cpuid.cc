#include "vmm/x86/cpuid.h"

#include <algorithm>
#include <cstring>
#include <system_error>

#include "vmm/base/check.h"
#include "vmm/kvm/flexible_request.h"
#include "vmm/kvm/ioctl.h"

namespace godwit::vmm::x86 {
namespace {

using CpuidRequest = FlexibleRequest<KvmCpuidHead, kvm_cpuid_entry2, kMaxCpuidEntries>;

}  // namespace

uint32_t CpuidEntry::get(Register which) const {
  switch (which) {
    case Register::kEax:
      return eax;
    case Register::kEbx:
      return ebx;
    case Register::kEcx:
      return ecx;
    case Register::kEdx:
      return edx;
  }
  return 0;
}

void CpuidEntry::set(Register which, uint32_t value) {
  switch (which) {
    case Register::kEax:
      eax = value;
      break;
    case Register::kEbx:
      ebx = value;
      break;
    case Register::kEcx:
      ecx = value;
      break;
    case Register::kEdx:
      edx = value;
      break;
  }
}

const CpuidEntry* find_entry(const CpuidTable& table, uint32_t function, uint32_t index) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const CpuidEntry& entry) {
    return entry.function == function && (!entry.index_significant || entry.index == index);
  });
  return found == table.end() ? nullptr : &*found;
}

CpuidEntry* find_entry(CpuidTable& table, uint32_t function, uint32_t index) {
  return const_cast<CpuidEntry*>(find_entry(std::as_const(table), function, index));
}

uint32_t value_of(const CpuidTable& table, uint32_t function, uint32_t index, Register which) {
  const CpuidEntry* entry = find_entry(table, function, index);
  return entry == nullptr ? 0 : entry->get(which);
}

void remove_function(CpuidTable& table, uint32_t function) {
  std::erase_if(table, [&](const CpuidEntry& entry) { return entry.function == function; });
}

std::string vendor_of(const CpuidTable& table) {
  const CpuidEntry* leaf = find_entry(table, 0);
  if (leaf == nullptr) return {};
  char text[12];
  std::memcpy(text, &leaf->ebx, 4);
  std::memcpy(text + 4, &leaf->edx, 4);
  std::memcpy(text + 8, &leaf->ecx, 4);
  std::string vendor(text, sizeof(text));
  // It may come from a peer and ends up in messages.
  for (char& c : vendor) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return vendor;
}

bool is_amd(const CpuidTable& table) {
  const std::string vendor = vendor_of(table);
  return vendor == "AuthenticAMD" || vendor == "HygonGenuine";
}

uint32_t physical_address_bits(const CpuidTable& table) {
  return value_of(table, 0x80000008, 0, Register::kEax) & 0xff;
}

Signature signature_of(uint32_t leaf1_eax) {
  Signature result{leaf1_eax >> 8 & 0xf, leaf1_eax >> 4 & 0xf, leaf1_eax & 0xf};
  if (result.family == 6 || result.family == 15) result.model |= (leaf1_eax >> 16 & 0xf) << 4;
  if (result.family == 15) result.family += leaf1_eax >> 20 & 0xff;
  return result;
}

CpuidTable supported_cpuid(const KvmSystem& system) {
  CpuidRequest request;
  request.head().nent = kMaxCpuidEntries;
  checked_ioctl(system.fd(), kKvmGetSupportedCpuid, &request.head(), "KVM_GET_SUPPORTED_CPUID");
  CpuidTable table;
  table.reserve(request.head().nent);
  for (uint32_t i = 0; i < request.head().nent; ++i) {
    const kvm_cpuid_entry2& e = request.entry(i);
    table.push_back({e.function, e.index, (e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0, e.eax,
                     e.ebx, e.ecx, e.edx});
  }
  return table;
}

int set_cpuid(const KvmVcpu& vcpu, const CpuidTable& table) {
  GODWIT_CHECK(table.size() <= kMaxCpuidEntries, "CPUID table longer than KVM takes");
  CpuidRequest request;
  for (const CpuidEntry& entry : table) {
    kvm_cpuid_entry2& e = request.entry(request.head().nent++);
    e.function = entry.function;
    e.index = entry.index;
    e.flags = entry.index_significant ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    e.eax = entry.eax;
    e.ebx = entry.ebx;
    e.ecx = entry.ecx;
    e.edx = entry.edx;
  }
  return try_ioctl(vcpu.fd(), kKvmSetCpuid2, &request.head());
}

}  // namespace godwit::vmm::x86
