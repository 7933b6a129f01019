#include "vmm/x86/cpu_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "vmm/x86/cpu_models.h"
#include "vmm/x86/features.h"

namespace godwit::vmm::x86 {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

CpuProfile sample() {
  CpuProfile profile;
  profile.cpuid = {
      {0, 0, false, 0xd, 0x68747541, 0x444d4163, 0x69746e65},  // AuthenticAMD
      {1, 0, false, 0xa00f11, 0x800, 0x80202001, 0x078bfbff},
      {7, 0, true, 1, 0x00010020, 0, 0},  // avx2, avx512f
      {0xd, 0, true, 7, 832, 832, 0},
      {0xd, 2, true, 256, 576, 0, 0},
      {0x80000008, 0, false, 0x3030, 0, 0, 0},
  };
  profile.xcr0 = 7;
  profile.xsave_bytes = 4096;
  profile.tsc_khz = 2'600'000;
  profile.tsc_offset = true;
  profile.msrs = {0x174, 0x277, 0xc0000102};
  return profile;
}

HostCpu host_like(const CpuProfile& profile) {
  return {profile, false};
}

CpuidEntry& leaf(CpuProfile& profile, uint32_t function) {
  return *find_entry(profile.cpuid, function);
}

TEST(CpuProfile, RoundTrip) {
  const CpuProfile before = sample();
  const auto after = decode_profile(encode_profile(before));
  ASSERT_TRUE(after);
  EXPECT_EQ(after->cpuid, before.cpuid);
  EXPECT_EQ(after->xcr0, before.xcr0);
  EXPECT_EQ(after->xsave_bytes, before.xsave_bytes);
  EXPECT_EQ(after->tsc_khz, before.tsc_khz);
  EXPECT_EQ(after->tsc_offset, before.tsc_offset);
  EXPECT_EQ(after->msrs, before.msrs);
  EXPECT_EQ(encode_profile(*after), encode_profile(before));
}

TEST(CpuProfile, TruncatedAtAnyByteIsRejected) {
  for (const bool with_arch_capabilities : {false, true}) {
    CpuProfile profile = sample();
    if (with_arch_capabilities) profile.arch_capabilities = 0x6b;
    const auto bytes = encode_profile(profile);
    for (size_t n = 0; n < bytes.size(); ++n) {
      EXPECT_FALSE(decode_profile(std::span(bytes).first(n))) << n;
    }
    auto longer = bytes;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(decode_profile(longer));
  }
}

TEST(CpuProfile, ArchCapabilitiesTravelWhereThereAreAny) {
  CpuProfile before = sample();
  EXPECT_EQ(encode_profile(before)[0], std::byte{1});
  before.arch_capabilities = 0x400000000c000069;
  const auto bytes = encode_profile(before);
  EXPECT_EQ(bytes[0], std::byte{2});
  const auto after = decode_profile(bytes);
  ASSERT_TRUE(after);
  EXPECT_EQ(*after, before);
}

TEST(CpuProfile, AlteredBytesAreRejectedOrDecodeToSomethingThatCanBeCompared) {
  const auto good = encode_profile(sample());
  const HostCpu host = host_like(sample());
  std::mt19937_64 random(99);
  for (size_t i = 0; i < good.size(); ++i) {
    for (int n = 0; n < 8; ++n) {
      auto bad = good;
      bad[i] ^= std::byte(random() % 255 + 1);
      const auto profile = decode_profile(bad);
      if (!profile) continue;
      differences(*profile, host);
      EXPECT_EQ(encode_profile(*profile), bad) << "byte " << i;
    }
  }
}

TEST(CpuProfile, CountsAreCappedBeforeAnythingIsAllocated) {
  ByteWriter out;
  out.u16(1);
  out.u32(0xffffffff);
  EXPECT_FALSE(decode_profile(out.view()));
}

TEST(CpuProfile, OtherVersionIsIncompatible) {
  auto bytes = encode_profile(sample());
  bytes[0] = std::byte{3};
  const auto profile = decode_profile(bytes);
  ASSERT_FALSE(profile);
  EXPECT_EQ(profile.error().code, Errc::kIncompatible);
}

TEST(CpuDifferences, EqualHostHasNone) {
  EXPECT_THAT(differences(sample(), host_like(sample())), IsEmpty());
}

TEST(CpuDifferences, MoreOnTheHostIsNoDifference) {
  CpuProfile host = sample();
  leaf(host, 7).ebx |= 1u << 30;
  host.xcr0 |= 0xe0;
  host.xsave_bytes = 8192;
  host.msrs.push_back(0x1234);
  EXPECT_THAT(differences(sample(), host_like(host)), IsEmpty());
}

TEST(CpuDifferences, MissingFeatureIsNamedWithItsBit) {
  CpuProfile host = sample();
  leaf(host, 7).ebx &= ~(1u << 16);
  EXPECT_THAT(differences(sample(), host_like(host)),
              ElementsAre(HasSubstr("avx512f (CPUID 7.0 EBX bit 16)")));
}

TEST(CpuDifferences, LeafThatTheHostLacksMissesAllItsFeatures) {
  CpuProfile host = sample();
  remove_function(host.cpuid, 7);
  EXPECT_THAT(differences(sample(), host_like(host)),
              ElementsAre(HasSubstr("avx2"), HasSubstr("avx512f")));
}

TEST(CpuDifferences, VendorExtendedStateAddressBitsAndMsrsAreNamed) {
  CpuProfile host = sample();
  leaf(host, 0).ebx = 0x756e6547;
  leaf(host, 0).edx = 0x49656e69;
  leaf(host, 0).ecx = 0x6c65746e;
  leaf(host, 0x80000008).eax = 0x302e;
  host.xcr0 = 3;
  host.msrs = {0x174, 0xc0000102};
  const auto lines = differences(sample(), host_like(host));
  EXPECT_THAT(lines, Contains(HasSubstr("\"AuthenticAMD\", this host \"GenuineIntel\"")));
  EXPECT_THAT(lines, Contains(HasSubstr("AVX state (XCR0 bit 2)")));
  EXPECT_THAT(lines, Contains(HasSubstr("48 bits, this host 46")));
  EXPECT_THAT(lines, Contains(HasSubstr("IA32_PAT (0x277)")));
  EXPECT_EQ(lines.size(), 4u);
}

TEST(CpuDifferences, ExtendedStateInAnotherPlaceOrTooLargeIsNamed) {
  CpuProfile host = sample();
  find_entry(host.cpuid, 0xd, 2)->ebx = 640;
  CpuProfile guest = sample();
  guest.xsave_bytes = 8192;
  const auto lines = differences(guest, host_like(host));
  EXPECT_THAT(lines, ElementsAre(HasSubstr("8192 bytes, this host saves 4096"),
                                 HasSubstr("component 2 lies at offset 576")));
}

TEST(CpuDifferences, ProtectionThatTheHostLacksIsNamed) {
  CpuProfile guest = sample(), host = sample();
  guest.arch_capabilities = 0x29;  // RDCL_NO, SKIP_L1DFL_VMENTRY, MDS_NO
  host.arch_capabilities = 0xd;    // RDCL_NO, RSBA, SKIP_L1DFL_VMENTRY
  EXPECT_THAT(differences(guest, host_like(host)),
              ElementsAre(HasSubstr("no RSBA"), HasSubstr("MDS_NO")));
  host.arch_capabilities.reset();
  EXPECT_THAT(differences(guest, host_like(host)), ElementsAre(HasSubstr("cannot be set")));
  host.arch_capabilities = 0x39;
  EXPECT_THAT(differences(guest, host_like(host)), IsEmpty());
}

TEST(CpuDifferences, TscMayDifferBy250PpmUnlessItCanBeScaled) {
  CpuProfile host = sample();
  host.tsc_khz = 2'600'000 + 650;  // 250 ppm
  EXPECT_THAT(differences(sample(), host_like(host)), IsEmpty());
  host.tsc_khz = 2'600'000 - 660;
  EXPECT_THAT(differences(sample(), host_like(host)), ElementsAre(HasSubstr("TSC frequency")));
  EXPECT_THAT(differences(sample(), {host, true}), IsEmpty());
}

TEST(CpuDifferences, TscOffsetMustBeKeptWhereItWasKept) {
  CpuProfile host = sample();
  host.tsc_offset = false;
  EXPECT_THAT(differences(sample(), host_like(host)), ElementsAre(HasSubstr("TSC offset")));
  CpuProfile guest = sample();
  guest.tsc_offset = false;
  EXPECT_THAT(differences(guest, host_like(sample())), IsEmpty());
}

}  // namespace
}  // namespace godwit::vmm::x86
