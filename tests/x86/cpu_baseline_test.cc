#include "vmm/x86/cpu_baseline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/x86/synthetic_cpu.h"
#include "vmm/x86/arch_capabilities.h"
#include "vmm/x86/feature_rules.h"
#include "vmm/x86/topology.h"

namespace godwit::vmm::x86 {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kSeed = 20261122;
constexpr int kTries = 100;

HostCpu both(const HostCpu& a, const HostCpu& b) {
  return common_cpu(a, b).value();
}

class CpuBaselineOfRandomHosts : public testing::TestWithParam<bool> {
 protected:
  HostCpu next() { return cpus_.next(GetParam()); }
  SyntheticCpus cpus_{kSeed};
};

TEST_P(CpuBaselineOfRandomHosts, IsAcceptableToEachOfThem) {
  for (int i = 0; i < kTries; ++i) {
    const HostCpu hosts[] = {next(), next(), next()};
    const HostCpu two = both(hosts[0], hosts[1]);
    const HostCpu three = both(two, hosts[2]);
    for (const HostCpu& host : hosts) {
      ASSERT_THAT(differences(three.best, host), IsEmpty()) << "seed " << kSeed << ", try " << i;
    }
    ASSERT_THAT(differences(two.best, hosts[0]), IsEmpty()) << "seed " << kSeed << ", try " << i;
    ASSERT_THAT(differences(two.best, hosts[1]), IsEmpty()) << "seed " << kSeed << ", try " << i;
  }
}

TEST_P(CpuBaselineOfRandomHosts, DoesNotDependOnOrderNorOnRepetition) {
  for (int i = 0; i < kTries; ++i) {
    const HostCpu a = next(), b = next(), c = next();
    ASSERT_EQ(both(a, b), both(b, a)) << "seed " << kSeed << ", try " << i;
    ASSERT_EQ(both(both(a, b), c), both(a, both(b, c))) << "seed " << kSeed << ", try " << i;
    ASSERT_EQ(both(a, a), canonical(a)) << "seed " << kSeed << ", try " << i;
    ASSERT_EQ(both(both(a, b), b), both(a, b)) << "seed " << kSeed << ", try " << i;
    ASSERT_EQ(canonical(canonical(a)), canonical(a)) << "seed " << kSeed << ", try " << i;
  }
}

TEST_P(CpuBaselineOfRandomHosts, TravelsAsAProfileAndTakesATopology) {
  for (int i = 0; i < kTries; ++i) {
    const HostCpu cpu = both(next(), next());
    const auto back = decode_profile(encode_profile(cpu.best));
    ASSERT_TRUE(back) << back.error().message;
    ASSERT_EQ(*back, cpu.best);
    ASSERT_EQ(cpu.best.xcr0, xcr0_of(cpu.best.cpuid));
    ASSERT_GE(cpu.best.xsave_bytes, xsave_bytes_of(cpu.best.cpuid, cpu.best.xcr0));
    CpuidTable table = cpu.best.cpuid;
    set_topology(table, 1, 4);
    ASSERT_EQ(value_of(table, 0xb, 1, Register::kEbx), 4u);
    if (find_entry(cpu.best.cpuid, 0x8000001e) != nullptr && GetParam()) {
      ASSERT_EQ(value_of(table, 0x8000001e, 0, Register::kEax), 1u);
    }
  }
}

// Whatever is taken away, what remains is a CPU that the host can give.
TEST_P(CpuBaselineOfRandomHosts, IsAcceptableAlsoWithoutSomeFeatures) {
  constexpr const char* kSome[] = {"avx", "xsave", "pku", "avx512f", "shstk", "pcid", "rdtscp"};
  for (int i = 0; i < kTries; ++i) {
    const HostCpu host = next();
    CpuProfile cpu = host.best;
    const std::string name = kSome[cpus_.below(std::size(kSome))];
    ASSERT_TRUE(remove_features(cpu, std::vector{name}));
    ASSERT_FALSE(has_feature(cpu.cpuid, name));
    ASSERT_THAT(differences(cpu, host), IsEmpty()) << "-" << name << ", try " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Vendors, CpuBaselineOfRandomHosts, testing::Bool(),
                         [](const auto& vendor) { return vendor.param ? "Amd" : "Intel"; });

class CpuBaseline : public testing::Test {
 protected:
  // AVX-512, its state and what goes with it.
  CpuBaseline() {
    host.best.cpuid = {
        {0, 0, false, 0xd, 0x68747541, 0x444d4163, 0x69746e65},
        {1, 0, false, 0x00a00f11, 0x800, 0x1c202001 | 1u << 19 | 1u << 9, 0x078bfbff},
        {7, 0, true, 0, 0x00010020, 0, 1u << 29},  // avx2, avx512f; arch_capabilities
        {0xd, 0, true, 0xe7, 2432, 2432, 0},
        {0xd, 2, true, 256, 576, 0, 0},
        {0xd, 5, true, 64, 832, 0, 0},
        {0xd, 6, true, 512, 896, 0, 0},
        {0xd, 7, true, 1024, 1408, 0, 0},
        {0x80000000, 0, false, 0x80000008, 0, 0, 0},
        {0x80000001, 0, false, 0x00a00f11, 0, 1, 1u << 29},
        {0x80000008, 0, false, 0x3030, 0, 0, 0},
    };
    host.best.xcr0 = 0xe7;
    host.best.tsc_khz = 2'600'000;
    host.best.tsc_offset = true;
    host.best.msrs = {0x10a, 0x174, 0x277};
    host.best.arch_capabilities = 0x29;
  }
  static CpuidEntry& leaf(HostCpu& cpu, uint32_t function, uint32_t index = 0) {
    return *find_entry(cpu.best.cpuid, function, index);
  }
  HostCpu host;
};

TEST_F(CpuBaseline, KeepsAllOfEqualHosts) {
  const HostCpu cpu = both(host, host);
  for (const char* feature : {"avx2", "avx512f", "arch_capabilities", "lm", "xsave"}) {
    EXPECT_TRUE(has_feature(cpu.best.cpuid, feature)) << feature;
  }
  EXPECT_EQ(cpu.best.xcr0, 0xe7u);
  EXPECT_EQ(cpu.best.msrs, host.best.msrs);
  EXPECT_EQ(cpu.best.arch_capabilities, 0x29u);
  EXPECT_EQ(physical_address_bits(cpu.best.cpuid), 48u);
}

TEST_F(CpuBaseline, AvxGoesWithItsState) {
  HostCpu other = host;
  leaf(other, 0xd).eax = 3;
  other.best.xcr0 = 3;
  const HostCpu cpu = both(host, other);
  EXPECT_EQ(cpu.best.xcr0, 3u);
  EXPECT_FALSE(has_feature(cpu.best.cpuid, "avx"));
  EXPECT_FALSE(has_feature(cpu.best.cpuid, "avx2"));
  EXPECT_FALSE(has_feature(cpu.best.cpuid, "avx512f"));
  EXPECT_EQ(find_entry(cpu.best.cpuid, 0xd, 2), nullptr);
  EXPECT_EQ(value_of(cpu.best.cpuid, 0xd, 0, Register::kEcx), 576u);
}

TEST_F(CpuBaseline, StateThatLiesElsewhereIsLeftOutWithItsFeatures) {
  HostCpu other = host;
  leaf(other, 0xd, 7).ebx += 64;
  const HostCpu cpu = both(host, other);
  EXPECT_EQ(cpu.best.xcr0, 7u);  // the three of AVX-512 go together
  EXPECT_TRUE(has_feature(cpu.best.cpuid, "avx2"));
  EXPECT_FALSE(has_feature(cpu.best.cpuid, "avx512f"));
  EXPECT_EQ(value_of(cpu.best.cpuid, 0xd, 0, Register::kEbx), 832u);
}

TEST_F(CpuBaseline, SignatureIsTheOlderOneAsAWhole) {
  HostCpu other = host;
  leaf(other, 1).eax = leaf(other, 0x80000001).eax = 0x00830f10;  // family 23, model 49
  const HostCpu cpu = both(host, other);
  EXPECT_EQ(value_of(cpu.best.cpuid, 1, 0, Register::kEax), 0x00830f10u);
  EXPECT_EQ(value_of(cpu.best.cpuid, 0x80000001, 0, Register::kEax), 0x00830f10u);
  EXPECT_EQ(signature_of(0x00830f10), (Signature{23, 49, 0}));
}

TEST_F(CpuBaseline, FeatureWhoseMsrIsNotSavedEverywhereIsLeftOut) {
  HostCpu other = host;
  other.best.msrs = {0x174, 0x277};
  const HostCpu cpu = both(host, other);
  EXPECT_FALSE(has_feature(cpu.best.cpuid, "arch_capabilities"));
  EXPECT_EQ(cpu.best.arch_capabilities, std::nullopt);
  EXPECT_EQ(cpu.best.msrs, (std::vector<uint32_t>{0x174, 0x277}));
}

TEST_F(CpuBaseline, PromisesOnlyTheProtectionThatBothHave) {
  HostCpu other = host;
  other.best.arch_capabilities = 0xc;  // RSBA, SKIP_L1DFL_VMENTRY
  EXPECT_EQ(both(host, other).best.arch_capabilities, 0xcu);
}

TEST_F(CpuBaseline, TscIsThatOfTheHostThatCannotScale) {
  HostCpu fast = host, slow = host;
  fast.best.tsc_khz = 3'000'000;
  slow.best.tsc_khz = 2'000'000;
  slow.tsc_scaling = true;
  EXPECT_EQ(both(fast, slow).best.tsc_khz, 3'000'000u);
  fast.tsc_scaling = true;
  EXPECT_EQ(both(fast, slow).best.tsc_khz, 2'000'000u);
  EXPECT_TRUE(both(fast, slow).tsc_scaling);
  EXPECT_EQ(tsc_distance_ppm(fast.best, slow), 0u);
  EXPECT_EQ(tsc_distance_ppm(fast.best, host), 133'333u);
}

TEST_F(CpuBaseline, VendorsDoNotMix) {
  HostCpu other = host;
  leaf(other, 0) = {0, 0, false, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69};
  const auto cpu = common_cpu(host, other);
  ASSERT_FALSE(cpu);
  EXPECT_EQ(cpu.error().code, Errc::kIncompatible);
  EXPECT_THAT(cpu.error().message, HasSubstr("GenuineIntel"));
}

TEST_F(CpuBaseline, AbilitiesAreNamed) {
  const auto names = abilities(canonical(host));
  for (const char* name : {"avx512f", "AVX state (XCR0 bit 2)", "MSR IA32_PAT (0x277)",
                           "IA32_ARCH_CAPABILITIES RDCL_NO", "IA32_ARCH_CAPABILITIES no RSBA",
                           "a TSC offset per vCPU"}) {
    EXPECT_THAT(names, Contains(name));
  }
}

TEST_F(CpuBaseline, TakenAwayFeaturesTakeTheirDependentsAndTheirState) {
  CpuProfile cpu = host.best;
  ASSERT_TRUE(remove_features(cpu, std::vector<std::string>{"avx512f"}));
  EXPECT_EQ(cpu.xcr0, 7u);
  EXPECT_TRUE(has_feature(cpu.cpuid, "avx2"));
  ASSERT_TRUE(remove_features(cpu, std::vector<std::string>{"avx"}));
  EXPECT_EQ(cpu.xcr0, 3u);
  EXPECT_FALSE(has_feature(cpu.cpuid, "avx2"));
  EXPECT_TRUE(has_feature(cpu.cpuid, "xsave"));
}

TEST_F(CpuBaseline, UnknownFeatureIsRefusedWithWhatItResembles) {
  CpuProfile cpu = host.best;
  const auto result = remove_features(cpu, std::vector<std::string>{"SSE4.2"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(result.error().message, HasSubstr("did you mean sse4_2"));
  EXPECT_THAT(similar_features("avx512"), Contains("avx512f"));
  EXPECT_THAT(similar_features("frobnicate"), IsEmpty());
  EXPECT_EQ(cpu, host.best);
}

TEST(CpuFeatures, EveryRuleIsAboutFeaturesThatExist) {
  for (const FeatureMsr& msr : feature_msrs()) {
    for (const char* name : msr.features) {
      EXPECT_TRUE(name == nullptr || find_feature(name)) << name;
    }
  }
  // A CPU with every feature and all its state keeps all of them.
  SyntheticCpus cpus(kSeed);
  CpuProfile cpu = cpus.next(false).best;
  std::erase_if(cpu.cpuid, [](const CpuidEntry& e) { return e.function == 0xd && e.index >= 2; });
  for (const FeatureWord& word : feature_words()) {
    find_entry(cpu.cpuid, word.function, word.index)->set(word.which, 0xffffffff);
  }
  *find_entry(cpu.cpuid, 0xd, 0) = {0xd, 0, true, 0x602ff, 0, 0, 0};
  find_entry(cpu.cpuid, 0xd, 1)->ecx = 0x1800;
  for (const uint32_t n : {2u, 3u, 4u, 5u, 6u, 7u, 9u, 17u, 18u}) {
    cpu.cpuid.push_back({0xd, n, true, 64, 576 + 64 * n, 0, 0});
  }
  for (const uint32_t n : {11u, 12u}) cpu.cpuid.push_back({0xd, n, true, 16, 0, 1, 0});
  cpu.msrs = {0x122, 0xda0};
  for (const FeatureMsr& msr : feature_msrs()) cpu.msrs.push_back(msr.index);
  cpu.arch_capabilities = 0;
  settle(cpu);
  for (const FeatureWord& word : feature_words()) {
    EXPECT_EQ(value_of(cpu.cpuid, word.function, word.index, word.which), 0xffffffffu)
        << short_feature_name(word, 0);
  }
  EXPECT_EQ(cpu.xcr0, 0x602ffu);
}

TEST(CpuMsrs, OneThatCpuidDoesNotPromiseAndThatIsAsAtResetHoldsNoState) {
  CpuidTable table = {{1, 0, false, 0, 0, 0, 0}, {7, 0, true, 0, 0, 0, 0}};
  EXPECT_TRUE(holds_no_state(table, 0x48, 0));
  EXPECT_TRUE(holds_no_state(table, 0xda0, 0));
  EXPECT_TRUE(holds_no_state(table, 0xc0000104, uint64_t{1} << 32));
  EXPECT_TRUE(holds_no_state(table, 0x10a, 0x69));     // the host's, and hidden from the guest
  EXPECT_FALSE(holds_no_state(table, 0x48, 4));        // not its reset value
  EXPECT_FALSE(holds_no_state(table, 0x277, 0));       // every CPU has it
  EXPECT_FALSE(holds_no_state(table, 0x4b564d03, 0));  // KVM does not ask CPUID by itself
  EXPECT_FALSE(holds_no_state(table, 0xdeadbeef, 0));  // who knows
  find_entry(table, 7)->edx = 1u << 26;                // spec_ctrl
  EXPECT_FALSE(holds_no_state(table, 0x48, 0));
}

}  // namespace
}  // namespace godwit::vmm::x86
