// IA32_ARCH_CAPABILITIES: which weaknesses a CPU has and has not. KVM lets any value be set, so a
// guest can be told of a protection that the host it moved to has not.
// Bits: SDM volume 4; arch/x86/include/asm/msr-index.h.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/kvm/system.h"

namespace godwit::vmm::x86 {

inline constexpr uint32_t kMsrArchCapabilities = 0x10a;
inline constexpr uint64_t kArchCapTsxCtrl = uint64_t{1} << 7;  // there is an IA32_TSX_CTRL

// What KVM here would tell a guest; nothing where it cannot be asked (Linux before 4.16).
std::optional<uint64_t> host_arch_capabilities(const KvmSystem& system);

// What holds on both: what is good where both have it, what is bad (RSBA, RRSBA) where one has it.
// Commutative, associative, idempotent.
uint64_t common_arch_capabilities(uint64_t a, uint64_t b);

// The names of what is good about a CPU ("RDCL_NO", "bit 40"; "no RSBA" for what is bad and it has
// not).
std::vector<std::string> virtues(uint64_t arch_capabilities);

}  // namespace godwit::vmm::x86
