// The registers of CPUID whose every bit is a feature, and the names of those bits.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
// "avx512f", or "CPUID 7.0 EBX bit 22" for a bit without a name.
std::string short_feature_name(const FeatureWord& word, unsigned bit);

// One bit of the tables.
struct FeatureBit {
  const FeatureWord* word = nullptr;
  unsigned bit = 0;

  [[nodiscard]] bool in(const CpuidTable& table) const;
  // Takes it out of `table`; whether it was there.
  [[nodiscard]] bool clear(CpuidTable& table) const;
};
// Nothing for a name that is not in the tables.
std::optional<FeatureBit> find_feature(std::string_view name);
// Names of the tables that `name` may have been meant to be, the likeliest first; at most five.
std::vector<std::string> similar_features(std::string_view name);

// Whether CPUID offers the named feature; false for a name that is not in the tables.
bool has_feature(const CpuidTable& table, std::string_view name);

}  // namespace godwit::vmm::x86
