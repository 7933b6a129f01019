// The comparison of a guest's CPU with a host.
#include <algorithm>
#include <bit>

#include "vmm/x86/arch_capabilities.h"
#include "vmm/x86/cpu_profile.h"
#include "vmm/x86/features.h"
#include "vmm/x86/msrs.h"

namespace godwit::vmm::x86 {
namespace {

void compare_features(const CpuidTable& guest, const CpuidTable& host,
                      std::vector<std::string>& lines) {
  for (const FeatureWord& word : feature_words()) {
    const uint32_t missing = value_of(guest, word.function, word.index, word.which) &
                             ~value_of(host, word.function, word.index, word.which);
    for (unsigned bit = 0; bit < 32; ++bit) {
      if ((missing >> bit & 1) == 0) continue;
      lines.push_back(fmt::format("CPU feature {} is missing here", feature_name(word, bit)));
    }
  }
}

void compare_xstate(const CpuProfile& guest, const CpuProfile& host,
                    std::vector<std::string>& lines) {
  const uint64_t missing = guest.xcr0 & ~host.xcr0;
  for (unsigned bit = 0; bit < 64; ++bit) {
    if ((missing >> bit & 1) == 0) continue;
    lines.push_back(
        fmt::format("{} state (XCR0 bit {}) cannot be switched on here", component_name(bit), bit));
  }
  if (guest.xsave_bytes > host.xsave_bytes) {
    lines.push_back(fmt::format("the guest's extended state has {} bytes, this host saves {}",
                                guest.xsave_bytes, host.xsave_bytes));
  }
  // The standard format puts each component at an offset that the CPU chooses: it must be the same.
  for (const CpuidEntry& entry : guest.cpuid) {
    if (entry.function != 0xd || entry.index < 2 || entry.index >= 63) continue;
    if ((guest.xcr0 & host.xcr0 & uint64_t{1} << entry.index) == 0) continue;
    const CpuidEntry* ours = find_entry(host.cpuid, 0xd, entry.index);
    if (ours != nullptr && ours->eax == entry.eax && ours->ebx == entry.ebx) continue;
    lines.push_back(fmt::format(
        "XSAVE component {} lies at offset {} with {} bytes in the guest, at {} with {} here",
        entry.index, entry.ebx, entry.eax, ours != nullptr ? ours->ebx : 0,
        ours != nullptr ? ours->eax : 0));
  }
}

void compare_tsc(const CpuProfile& guest, const HostCpu& host, std::vector<std::string>& lines) {
  if (const uint64_t ppm = tsc_distance_ppm(guest, host); ppm > kTscTolerancePpm) {
    lines.push_back(fmt::format(
        "TSC frequency: the guest has {} kHz, this host {} kHz ({} ppm apart, {} allowed) and "
        "cannot scale it",
        guest.tsc_khz, host.best.tsc_khz, ppm, kTscTolerancePpm));
  }
  if (guest.tsc_offset && !host.best.tsc_offset) {
    lines.push_back("KVM here keeps no TSC offset: the guest's TSC would jump");
  }
}

void compare_arch_capabilities(const CpuProfile& guest, const CpuProfile& host,
                               std::vector<std::string>& lines) {
  if (!guest.arch_capabilities) return;
  if (!host.arch_capabilities) {
    lines.emplace_back("IA32_ARCH_CAPABILITIES, which the guest has, cannot be set by KVM here");
    return;
  }
  const auto ours = virtues(*host.arch_capabilities);
  for (const std::string& name : virtues(*guest.arch_capabilities)) {
    if (std::find(ours.begin(), ours.end(), name) != ours.end()) continue;
    lines.push_back(
        fmt::format("IA32_ARCH_CAPABILITIES promises the guest {}, which is not so here", name));
  }
}

}  // namespace

std::string component_name(unsigned bit) {
  constexpr const char* kNames[] = {"x87",
                                    "SSE",
                                    "AVX",
                                    "MPX bounds",
                                    "MPX config",
                                    "AVX-512 opmask",
                                    "AVX-512 upper halves",
                                    "AVX-512 zmm16-31",
                                    "PT",
                                    "PKRU"};
  return bit < std::size(kNames) ? kNames[bit] : "extended";
}

uint64_t tsc_distance_ppm(const CpuProfile& guest, const HostCpu& host) {
  if (host.tsc_scaling || guest.tsc_khz == 0) return 0;
  const int64_t difference = int64_t{guest.tsc_khz} - int64_t{host.best.tsc_khz};
  return static_cast<uint64_t>(std::abs(difference)) * 1'000'000 / guest.tsc_khz;
}

std::vector<std::string> differences(const CpuProfile& guest, const HostCpu& host) {
  std::vector<std::string> lines;
  if (const auto ours = vendor_of(host.best.cpuid), theirs = vendor_of(guest.cpuid);
      ours != theirs) {
    lines.push_back(
        fmt::format("CPU vendor: the guest has \"{}\", this host \"{}\"", theirs, ours));
  }
  compare_features(guest.cpuid, host.best.cpuid, lines);
  compare_xstate(guest, host.best, lines);
  compare_arch_capabilities(guest, host.best, lines);
  const uint32_t theirs = physical_address_bits(guest.cpuid);
  const uint32_t ours = physical_address_bits(host.best.cpuid);
  if (theirs > ours) {
    lines.push_back(
        fmt::format("physical addresses: the guest has {} bits, this host {}", theirs, ours));
  }
  for (const uint32_t msr : guest.msrs) {
    if (std::find(host.best.msrs.begin(), host.best.msrs.end(), msr) != host.best.msrs.end()) {
      continue;
    }
    lines.push_back(fmt::format("MSR {} cannot be restored by KVM here", msr_name(msr)));
  }
  compare_tsc(guest, host, lines);
  return lines;
}

}  // namespace godwit::vmm::x86
