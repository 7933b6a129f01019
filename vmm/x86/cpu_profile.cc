#include "vmm/x86/cpu_profile.h"

#include <algorithm>

namespace godwit::vmm::x86 {
namespace {

constexpr uint16_t kVersion = 1;
constexpr uint16_t kVersionWithArchCapabilities = 2;
constexpr uint32_t kMaxEntries = kMaxCpuidEntries - 8;  // set_topology() adds a few
constexpr uint32_t kMaxMsrs = 1024;
constexpr uint32_t kMaxXsaveBytes = 64u << 10;

bool read_flag(ByteReader& in, std::string_view what) {
  const uint8_t value = in.u8();
  if (value > 1) in.fail(make_error(Errc::kCorrupt, "CPU profile: {} is {}", what, value));
  return value == 1;
}

CpuidTable read_cpuid(ByteReader& in) {
  CpuidTable table;
  const uint32_t count = in.count(kMaxEntries, "the number of CPUID entries");
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    CpuidEntry entry;
    entry.function = in.u32();
    entry.index = in.u32();
    entry.index_significant = read_flag(in, "a CPUID entry's index flag");
    entry.eax = in.u32();
    entry.ebx = in.u32();
    entry.ecx = in.u32();
    entry.edx = in.u32();
    table.push_back(entry);
  }
  return table;
}

std::vector<uint32_t> read_msrs(ByteReader& in) {
  std::vector<uint32_t> msrs;
  const uint32_t count = in.count(kMaxMsrs, "the number of MSRs");
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const uint32_t index = in.u32();
    if (std::find(msrs.begin(), msrs.end(), index) != msrs.end()) {
      in.fail(make_error(Errc::kCorrupt, "CPU profile: MSR {:#x} twice", index));
    }
    msrs.push_back(index);
  }
  return msrs;
}

}  // namespace

std::vector<std::byte> encode_profile(const CpuProfile& profile) {
  ByteWriter out;
  out.u16(profile.arch_capabilities ? kVersionWithArchCapabilities : kVersion);
  out.u32(static_cast<uint32_t>(profile.cpuid.size()));
  for (const CpuidEntry& entry : profile.cpuid) {
    out.u32(entry.function);
    out.u32(entry.index);
    out.u8(entry.index_significant ? 1 : 0);
    out.u32(entry.eax);
    out.u32(entry.ebx);
    out.u32(entry.ecx);
    out.u32(entry.edx);
  }
  out.u64(profile.xcr0);
  out.u32(profile.xsave_bytes);
  out.u32(profile.tsc_khz);
  out.u8(profile.tsc_offset ? 1 : 0);
  out.u32(static_cast<uint32_t>(profile.msrs.size()));
  for (const uint32_t msr : profile.msrs) out.u32(msr);
  if (profile.arch_capabilities) out.u64(*profile.arch_capabilities);
  return out.take();
}

Result<CpuProfile> decode_profile(std::span<const std::byte> bytes) {
  ByteReader in(bytes, "CPU profile");
  const uint16_t version = in.u16();
  if (in.ok() && (version < kVersion || version > kVersionWithArchCapabilities)) {
    return make_error(Errc::kIncompatible,
                      "CPU profile: version {}, known here are {} to {}: one of the two hosts runs "
                      "another release of godwit",
                      version, kVersion, kVersionWithArchCapabilities);
  }
  CpuProfile profile;
  profile.cpuid = read_cpuid(in);
  profile.xcr0 = in.u64();
  profile.xsave_bytes = in.count(kMaxXsaveBytes, "the size of the extended state");
  profile.tsc_khz = in.u32();
  profile.tsc_offset = read_flag(in, "the TSC offset flag");
  profile.msrs = read_msrs(in);
  if (version == kVersionWithArchCapabilities) profile.arch_capabilities = in.u64();
  GODWIT_TRY(in.finish());
  if (profile.tsc_khz == 0 || find_entry(profile.cpuid, 0) == nullptr ||
      find_entry(profile.cpuid, 1) == nullptr) {
    return make_error(Errc::kCorrupt, "CPU profile: no CPU has a TSC of {} kHz and no leaf 0 and 1",
                      profile.tsc_khz);
  }
  return profile;
}

}  // namespace godwit::vmm::x86
