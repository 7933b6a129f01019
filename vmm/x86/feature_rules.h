// Which features of a CPU need which others, so that a CPU of which something is taken away stays
// one that could exist.
#pragma once
#include <span>
#include <string>

#include "vmm/base/error.h"
#include "vmm/x86/cpu_profile.h"

namespace godwit::vmm::x86 {

// Takes away what cannot be without something that `cpu` lacks: AVX2 without AVX, AVX-512 without
// its state in XCR0, one half of a pair of state components, a feature whose MSR is not saved, ...
// Then sets xcr0, the sizes in CPUID leaf 0xd and what else follows. Takes away no more than
// needed: the result is the largest such CPU below `cpu`, so the order of steps does not matter.
// Dependencies: SDM 1, 13 (XSAVE), 15.2 (AVX-512); arch/x86/kernel/cpu/cpuid-deps.c.
void settle(CpuProfile& cpu);

// Takes away features by name, with the state components that are theirs and all that needs them.
// A feature that `cpu` does not have is no error. Errors: kInvalidArgument for a name that no
// feature has, with those that it resembles.
Result<> remove_features(CpuProfile& cpu, std::span<const std::string> names);
// Only checks the name.
Result<> check_feature_name(const std::string& name);

// Bytes of the compacted XSAVE area of those components (SDM 1, 13.4.3).
uint32_t compacted_bytes_of(const CpuidTable& table, uint64_t components);

}  // namespace godwit::vmm::x86
