// The registers of CPUID whose every bit is a feature, and the names of those bits.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vmm/x86/cpuid.h"

namespace godwit::vmm::x86 {

struct FeatureWord {
  uint32_t function;
  uint32_t index;
  Register which;
  const char* names[32];  // as in /proc/cpuinfo where it has one; null: no name known
};

// Every register that is compared between hosts.
std::span<const FeatureWord> feature_words();

// "avx512f (CPUID 7.0 EBX bit 16)"
std::string feature_name(const FeatureWord& word, unsigned bit);

// Whether CPUID offers the named feature; false for a name that is not in the tables.
bool has_feature(const CpuidTable& table, std::string_view name);

}  // namespace godwit::vmm::x86
