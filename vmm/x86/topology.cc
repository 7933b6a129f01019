#include "vmm/x86/topology.h"

#include <bit>

namespace godwit::vmm::x86 {
namespace {

void set_bit(uint32_t& value, unsigned bit, bool on) {
  value = on ? value | uint32_t{1} << bit : value & ~(uint32_t{1} << bit);
}

// SDM 2A, CPUID leaf 0xb: level type 1 = SMT, 2 = core.
void set_extended_topology(CpuidTable& table, uint32_t function, uint32_t index, uint32_t vcpus,
                           uint32_t id_bits) {
  remove_function(table, function);
  table.push_back({function, 0, true, 0, 1, 1u << 8 | 0, index});
  table.push_back({function, 1, true, id_bits, vcpus, 2u << 8 | 1, index});
  table.push_back({function, 2, true, 0, 0, 2, index});
}

void set_intel_caches(CpuidTable& table, uint32_t vcpus, uint32_t id_bits) {
  for (CpuidEntry& entry : table) {
    if (entry.function != 0x4 || (entry.eax & 0x1f) == 0) continue;
    const uint32_t level = entry.eax >> 5 & 7;
    const uint32_t sharing = level >= 3 ? vcpus - 1 : 0;
    const uint32_t cores = (1u << id_bits) - 1;
    entry.eax = (entry.eax & 0x3fff) | sharing << 14 | cores << 26;
  }
}

void set_amd_topology(CpuidTable& table, uint32_t index, uint32_t vcpus, uint32_t id_bits) {
  if (CpuidEntry* leaf = find_entry(table, 0x80000001)) set_bit(leaf->ecx, 1, vcpus > 1);
  if (CpuidEntry* leaf = find_entry(table, 0x80000008)) {
    leaf->ecx = (leaf->ecx & ~0xf0ffu) | id_bits << 12 | (vcpus - 1);
  }
  for (CpuidEntry& entry : table) {
    if (entry.function != 0x8000001d || (entry.eax & 0x1f) == 0) continue;
    const uint32_t sharing = (entry.eax >> 5 & 7) >= 3 ? vcpus - 1 : 0;
    entry.eax = (entry.eax & 0x3fff) | sharing << 14;
  }
  if (CpuidEntry* leaf = find_entry(table, 0x8000001e)) {
    leaf->eax = index;
    leaf->ebx = index;  // core id; one thread per core
    leaf->ecx = 0;      // one node
    leaf->edx = 0;
  }
}

}  // namespace

void set_topology(CpuidTable& table, uint32_t index, uint32_t vcpus) {
  const auto id_bits = static_cast<uint32_t>(std::bit_width(vcpus - 1));
  if (CpuidEntry* leaf = find_entry(table, 1)) {
    leaf->ebx = (leaf->ebx & 0x0000ffff) | index << 24 | (vcpus > 1 ? 1u << id_bits : 1u) << 16;
    set_bit(leaf->edx, 28, vcpus > 1);
  }
  const uint32_t max_basic = value_of(table, 0, 0, Register::kEax);
  const bool has_1f = find_entry(table, 0x1f) != nullptr;
  if (max_basic >= 0xb) set_extended_topology(table, 0xb, index, vcpus, id_bits);
  if (has_1f) set_extended_topology(table, 0x1f, index, vcpus, id_bits);
  if (is_amd(table)) {
    set_amd_topology(table, index, vcpus, id_bits);
  } else {
    set_intel_caches(table, vcpus, id_bits);
  }
}

}  // namespace godwit::vmm::x86
