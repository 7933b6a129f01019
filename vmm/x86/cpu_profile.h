// The CPU that a guest sees, complete enough to build the same one on another host.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/x86/cpuid.h"

namespace godwit::vmm::x86 {

struct CpuProfile {
  CpuidTable cpuid;             // before set_topology(): the same for all vCPUs
  uint64_t xcr0 = 0;            // components the guest may switch on
  uint32_t xsave_bytes = 4096;  // of the extended state as it travels
  uint32_t tsc_khz = 0;
  bool tsc_offset = false;     // the host keeps a TSC offset per vCPU
  std::vector<uint32_t> msrs;  // that hold state: saved, sent, loaded
  // IA32_ARCH_CAPABILITIES; nothing where CPUID does not offer it, or where KVM does not let it be
  // set.
  std::optional<uint64_t> arch_capabilities;

  bool operator==(const CpuProfile&) const = default;
};

// MachineDescription::cpu. Layout version 1, little-endian: u16 version, u32 count and
// {u32 function, u32 index, u8 index significant, u32 eax, ebx, ecx, edx} per CPUID entry,
// u64 xcr0, u32 xsave_bytes, u32 tsc_khz, u8 tsc_offset, u32 count and u32 index per MSR.
// Version 2 adds u64 arch_capabilities; it is written where there are any.
std::vector<std::byte> encode_profile(const CpuProfile& profile);
// Errors: kCorrupt; kIncompatible for a newer version.
Result<CpuProfile> decode_profile(std::span<const std::byte> bytes);

// What this host can give to a guest: a profile of everything, and whether the TSC can be scaled.
struct HostCpu {
  CpuProfile best;
  bool tsc_scaling = false;

  bool operator==(const HostCpu&) const = default;
};

// KVM tells the guest's TSC frequency apart from the host's only beyond this
// (tsc_tolerance_ppm, arch/x86/kvm/x86.c); without scaling it refuses more.
inline constexpr uint32_t kTscTolerancePpm = 250;

// Of a bit of XCR0: "AVX-512 opmask".
std::string component_name(unsigned bit);

// How far the guest's TSC frequency is from this host's, in parts per million, rounded down; 0 for
// a host that scales. More than kTscTolerancePpm is refused.
uint64_t tsc_distance_ppm(const CpuProfile& guest, const HostCpu& host);

// Everything in `guest` that this host cannot give, each a line that names it; empty: compatible.
std::vector<std::string> differences(const CpuProfile& guest, const HostCpu& host);

}  // namespace godwit::vmm::x86
