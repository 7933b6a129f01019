#include "vmm/x86/cpu_baseline.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <tuple>

#include "vmm/x86/arch_capabilities.h"
#include "vmm/x86/feature_rules.h"

namespace godwit::vmm::x86 {
namespace {

// How a register of two hosts becomes one. Each is commutative, associative and idempotent.
enum class Rule { kAnd, kMin, kMinOfBytes, kSignature, kAddressBits };

struct LeafRule {
  uint32_t function;
  Rule eax = Rule::kAnd, ebx = Rule::kAnd, ecx = Rule::kAnd, edx = Rule::kAnd;
};

// Leaves with features, register by register.
constexpr LeafRule kLeafRules[] = {
    {0x0, Rule::kMin},
    {0x1, Rule::kSignature, Rule::kMinOfBytes},
    {0x6},
    {0x7},
    {0x40000000, Rule::kMin},
    {0x40000001},
    {0x80000000, Rule::kMin},
    {0x80000001, Rule::kSignature, Rule::kMin},
    {0x80000007},
    {0x80000008, Rule::kAddressBits},
    {0x8000001a},
    {0x80000020},
    {0x80000021},
};
// The same for subleaf 0, whose EAX is the largest subleaf.
constexpr LeafRule kFirstOfSeven{0x7, Rule::kMin};

// Of these the smaller entry counts; all others must be equal.
constexpr uint32_t kCaches[] = {0x4, 0x80000005, 0x80000006, 0x80000019, 0x8000001d};

// Made anew for each vCPU, or (0x80000026, memory encryption) about what no guest of ours has.
constexpr uint32_t kLeftOut[] = {0xb, 0x1f, 0x80000026, 0x8000001f};
constexpr uint32_t kCoreIds = 0x8000001e;  // set_topology() fills it in where it is there
constexpr uint32_t kBrand = 0x80000002;    // and the two behind it
constexpr uint32_t kBrandLeaves = 3;
constexpr uint32_t kExtendedState = 0xd;

constexpr char kBrandOfSeveral[16 * kBrandLeaves + 1] = "Godwit baseline CPU";

bool contains(std::span<const uint32_t> functions, uint32_t function) {
  return std::find(functions.begin(), functions.end(), function) != functions.end();
}

bool is_brand(uint32_t function) {
  return function >= kBrand && function < kBrand + kBrandLeaves;
}

// The largest leaf of the range in which `function` lies; its first leaf tells.
uint32_t largest_leaf(const CpuidTable& table, uint32_t function) {
  if (function < 0x40000000) return value_of(table, 0, 0, Register::kEax);
  if (function < 0x80000000) {
    // KVM of before leaf 0x40000001 said 0, and means it still (cpuid.rst).
    return std::max(value_of(table, 0x40000000, 0, Register::kEax), 0x40000001u);
  }
  return value_of(table, 0x80000000, 0, Register::kEax);
}

void clear_topology(CpuidEntry& entry, bool amd) {
  if (entry.function == 0x1) {
    entry.eax &= 0x0fff3fff;
    entry.ebx &= 0xffff;
    entry.edx &= ~(uint32_t{1} << 28);
  }
  if (entry.function == 0x4 || entry.function == 0x8000001d) entry.eax &= 0x3fff;
  if (!amd) return;
  if (entry.function == 0x80000001) entry.ecx &= ~uint32_t{2};
  if (entry.function == 0x80000008) entry.ecx &= ~uint32_t{0xf0ff};
  if (entry.function == kCoreIds) entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
}

bool is_zero(const CpuidEntry& entry) {
  return (entry.eax | entry.ebx | entry.ecx | entry.edx) == 0;
}

void sort_and_thin(CpuidTable& table) {
  std::stable_sort(table.begin(), table.end(), [](const CpuidEntry& a, const CpuidEntry& b) {
    return std::pair(a.function, a.index) < std::pair(b.function, b.index);
  });
  const auto last = std::unique(table.begin(), table.end(), [](const auto& a, const auto& b) {
    return a.function == b.function && a.index == b.index;
  });
  table.erase(last, table.end());
}

void drop_brand_unless_whole(CpuidTable& table) {
  for (uint32_t i = 0; i < kBrandLeaves; ++i) {
    if (find_entry(table, kBrand + i) != nullptr) continue;
    std::erase_if(table, [](const CpuidEntry& entry) { return is_brand(entry.function); });
    return;
  }
}

CpuidTable canonical_table(CpuidTable table) {
  const bool amd = is_amd(table);
  for (CpuidEntry& entry : table) {
    if (!entry.index_significant) entry.index = 0;
    clear_topology(entry, amd);
  }
  sort_and_thin(table);
  const CpuidTable all = table;
  const uint32_t subleaves_of_seven = value_of(all, 0x7, 0, Register::kEax);
  std::erase_if(table, [&](const CpuidEntry& entry) {
    if (entry.function <= 1) return false;
    const bool beyond = entry.function > largest_leaf(all, entry.function) ||
                        (entry.function == 0x7 && entry.index > subleaves_of_seven);
    return beyond || contains(kLeftOut, entry.function);
  });
  drop_brand_unless_whole(table);
  return table;
}

uint32_t combine_address_bits(uint32_t a, uint32_t b) {
  const auto byte = [](uint32_t value, unsigned n) { return value >> 8 * n & 0xff; };
  // Guest-physical bits: 0 means as many as physical ones.
  const auto guest_bits = [&](uint32_t v) { return byte(v, 2) == 0 ? byte(v, 0) : byte(v, 2); };
  const uint32_t physical = std::min(byte(a, 0), byte(b, 0));
  const uint32_t linear = std::min(byte(a, 1), byte(b, 1));
  const bool said = (byte(a, 2) | byte(b, 2)) != 0;
  const uint32_t guest = said ? std::min(guest_bits(a), guest_bits(b)) : 0;
  return physical | linear << 8 | guest << 16;
}

uint32_t combine(Rule rule, uint32_t a, uint32_t b) {
  switch (rule) {
    case Rule::kAnd:
      return a & b;
    case Rule::kMin:
      return std::min(a, b);
    case Rule::kMinOfBytes: {
      uint32_t result = 0;
      for (unsigned shift = 0; shift < 32; shift += 8) {
        result |= std::min(a >> shift & 0xff, b >> shift & 0xff) << shift;
      }
      return result;
    }
    case Rule::kSignature:
      return std::pair(signature_of(a), a) <= std::pair(signature_of(b), b) ? a : b;
    case Rule::kAddressBits:
      return combine_address_bits(a, b);
  }
  return 0;
}

const LeafRule* rule_for(const CpuidEntry& entry) {
  if (entry.function == 0x7 && entry.index == 0) return &kFirstOfSeven;
  const auto found = std::find_if(std::begin(kLeafRules), std::end(kLeafRules),
                                  [&](const auto& r) { return r.function == entry.function; });
  return found == std::end(kLeafRules) ? nullptr : found;
}

// The head of leaf 0xd is settled from the components that remain.
constexpr LeafRule kStateHead{kExtendedState};

std::optional<CpuidEntry> combine(const CpuidEntry& a, const CpuidEntry& b) {
  CpuidEntry result = a;
  result.index_significant = a.index_significant || b.index_significant;
  const bool state_head = a.function == kExtendedState && a.index < 2;
  if (const LeafRule* rule = state_head ? &kStateHead : rule_for(a)) {
    result.eax = combine(rule->eax, a.eax, b.eax);
    result.ebx = combine(rule->ebx, a.ebx, b.ebx);
    result.ecx = combine(rule->ecx, a.ecx, b.ecx);
    result.edx = combine(rule->edx, a.edx, b.edx);
    return result;
  }
  const auto values = [](const CpuidEntry& e) { return std::array{e.eax, e.ebx, e.ecx, e.edx}; };
  if (values(a) == values(b) || is_brand(a.function)) return result;
  if (!contains(kCaches, a.function)) return std::nullopt;
  const CpuidEntry& smaller = values(a) < values(b) ? a : b;
  result.eax = smaller.eax, result.ebx = smaller.ebx;
  result.ecx = smaller.ecx, result.edx = smaller.edx;
  return result;
}

void combine_brands(const CpuidTable& a, const CpuidTable& b, CpuidTable& result) {
  const auto brand = [](const CpuidTable& table) {
    std::array<uint32_t, 4 * kBrandLeaves> words{};
    for (uint32_t i = 0; i < words.size(); ++i) {
      words[i] = value_of(table, kBrand + i / 4, 0, static_cast<Register>(i % 4));
    }
    return words;
  };
  if (brand(a) == brand(b)) return;
  for (uint32_t i = 0; i < 4 * kBrandLeaves; ++i) {
    uint32_t word = 0;
    std::memcpy(&word, kBrandOfSeveral + sizeof(word) * i, sizeof(word));
    if (CpuidEntry* entry = find_entry(result, kBrand + i / 4)) {
      entry->set(static_cast<Register>(i % 4), word);
    }
  }
}

CpuidTable common_table(const CpuidTable& a, const CpuidTable& b) {
  CpuidTable result;
  for (const CpuidEntry& entry : a) {
    const auto other = std::find_if(b.begin(), b.end(), [&](const CpuidEntry& e) {
      return e.function == entry.function && e.index == entry.index;
    });
    if (other == b.end()) continue;
    if (const auto both = combine(entry, *other)) result.push_back(*both);
  }
  combine_brands(a, b, result);
  return result;
}

std::optional<uint64_t> common_virtues(const CpuProfile& a, const CpuProfile& b) {
  if (!a.arch_capabilities || !b.arch_capabilities) return std::nullopt;
  return common_arch_capabilities(*a.arch_capabilities, *b.arch_capabilities);
}

}  // namespace

CpuidTable without_zeros(CpuidTable table) {
  std::erase_if(table, [](const CpuidEntry& entry) {
    return is_zero(entry) && !is_brand(entry.function) && entry.function != kCoreIds &&
           entry.function > 1;
  });
  return table;
}

HostCpu canonical(HostCpu cpu) {
  cpu.best.cpuid = canonical_table(std::move(cpu.best.cpuid));
  std::sort(cpu.best.msrs.begin(), cpu.best.msrs.end());
  cpu.best.msrs.erase(std::unique(cpu.best.msrs.begin(), cpu.best.msrs.end()), cpu.best.msrs.end());
  settle(cpu.best);
  cpu.best.cpuid = without_zeros(std::move(cpu.best.cpuid));
  return cpu;
}

Result<HostCpu> common_cpu(const HostCpu& first, const HostCpu& second) {
  const HostCpu a = canonical(first), b = canonical(second);
  const std::string vendor = vendor_of(a.best.cpuid), other = vendor_of(b.best.cpuid);
  if (vendor != other) {
    return make_error(Errc::kIncompatible,
                      "CPUs of \"{}\" and of \"{}\" have no baseline: guests cannot move between "
                      "vendors",
                      vendor, other);
  }
  HostCpu result;
  result.best.cpuid = common_table(a.best.cpuid, b.best.cpuid);
  std::set_intersection(a.best.msrs.begin(), a.best.msrs.end(), b.best.msrs.begin(),
                        b.best.msrs.end(), std::back_inserter(result.best.msrs));
  result.best.arch_capabilities = common_virtues(a.best, b.best);
  result.best.xsave_bytes = std::min(a.best.xsave_bytes, b.best.xsave_bytes);
  result.best.tsc_offset = a.best.tsc_offset && b.best.tsc_offset;
  // A host that scales takes any frequency, one that cannot decides.
  const auto tsc = [](const HostCpu& cpu) { return std::pair(cpu.tsc_scaling, cpu.best.tsc_khz); };
  std::tie(result.tsc_scaling, result.best.tsc_khz) = std::min(tsc(a), tsc(b));
  return canonical(std::move(result));
}

}  // namespace godwit::vmm::x86
