// The CPU that a guest gets: offered, received from another host, refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kvm/require_kvm.h"
#include "tests/kvm/test_guest.h"
#include "vmm/host_report.h"
#include "vmm/x86/cpu_baseline.h"
#include "vmm/x86/cpu_models.h"
#include "vmm/x86/cpu_profile.h"
#include "vmm/x86/features.h"
#include "vmm/x86/msrs.h"

namespace godwit::vmm::test {
namespace {

using testing::HasSubstr;
using x86::CpuProfile;

class CpuTest : public testing::Test {
 protected:
  void SetUp() override { GODWIT_REQUIRE_KVM(); }

  static x86::HostCpu host_cpu() {
    const HostReport report = probe_host();
    return {x86::decode_profile(report.cpu).value(), report.tsc_scaling};
  }
  static CpuProfile profile_of(Vm& vm) { return x86::decode_profile(vm.describe().cpu).value(); }

  // What the guest's own CPUID instruction says in ring 0.
  static x86::CpuidEntry ask_guest(const VmConfig& config, uint32_t leaf, uint32_t subleaf) {
    TestGuest guest(config);
    guest.start_raw(g_ring0_cpuid, BootProtocol::kPvh, {.rsi = subleaf, .rdi = leaf});
    guest.vm().resume();
    EXPECT_TRUE(guest.done().wait_for_writes(1));
    const uint64_t low = guest.read64(kBox + 0x50);
    const uint64_t high = guest.read64(kBox + 0x58);
    return {leaf,
            subleaf,
            true,
            static_cast<uint32_t>(low),
            static_cast<uint32_t>(low >> 32),
            static_cast<uint32_t>(high),
            static_cast<uint32_t>(high >> 32)};
  }
};

TEST_F(CpuTest, GuestSeesAHypervisorAndNoFeatureThatCannotMove) {
  const auto one = ask_guest(small_config(), 1, 0);
  EXPECT_EQ(one.ecx >> 31 & 1, 1u);
  EXPECT_EQ(one.ecx >> 5 & 1, 0u);  // vmx
  EXPECT_EQ(one.ebx >> 24, 0u);     // APIC id
  const auto kvm = ask_guest(small_config(), 0x40000000, 0);
  EXPECT_EQ(kvm.ebx, 0x4b4d564bu);                                      // "KVMK"
  EXPECT_NE(ask_guest(small_config(), 0x40000001, 0).eax & 8, 0u);      // kvmclock
  EXPECT_EQ(ask_guest(small_config(), 0x80000007, 0).edx & 0x100, 0u);  // invtsc
}

TEST_F(CpuTest, GuestSeesItsNumberOfCores) {
  VmConfig config = small_config();
  config.vcpus = 3;
  const auto core = ask_guest(config, 0xb, 1);
  EXPECT_EQ(core.ebx, 3u);
  EXPECT_EQ(core.eax, 2u);
  EXPECT_EQ(ask_guest(config, 1, 0).ebx >> 16 & 0xff, 4u);
}

TEST_F(CpuTest, GuestSeesTheReceivedCpuNotTheHosts) {
  CpuProfile profile;
  {
    TestGuest source;
    profile = profile_of(source.vm());
  }
  // A smaller CPU, as of an older host.
  auto* leaf = x86::find_entry(profile.cpuid, 1);
  leaf->eax = 0x00800f12;
  leaf->ecx &= ~(1u << 13);  // cx16
  VmConfig config = small_config();
  config.cpu = x86::encode_profile(profile);
  const auto seen = ask_guest(config, 1, 0);
  EXPECT_EQ(seen.eax, 0x00800f12u);
  EXPECT_EQ(seen.ecx >> 13 & 1, 0u);
  TestGuest target(config);
  EXPECT_EQ(target.vm().describe().cpu, config.cpu);
}

TEST_F(CpuTest, EachDifferenceOfAReceivedCpuIsNamed) {
  TestGuest source;
  CpuProfile profile = profile_of(source.vm());
  auto* leaf = x86::find_entry(profile.cpuid, 7);
  ASSERT_NE(leaf, nullptr);
  leaf->ecx |= 1u << 16;              // la57
  profile.xcr0 |= uint64_t{1} << 62;  // nobody has it
  profile.msrs.push_back(0xdead);
  profile.tsc_khz /= 2;
  VmConfig config = small_config();
  config.cpu = x86::encode_profile(profile);
  const auto vm = Vm::create(config);
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, Errc::kIncompatible);
  EXPECT_THAT(vm.error().message, HasSubstr("la57"));
  EXPECT_THAT(vm.error().message, HasSubstr("XCR0 bit 62"));
  EXPECT_THAT(vm.error().message, HasSubstr("0xdead"));
}

// A CPU below this host's, as `godwit cpu-baseline` makes it.
TEST_F(CpuTest, BaselineIsWhatTheGuestSeesAndTravelsAsItIs) {
  x86::HostCpu other = host_cpu();
  x86::find_entry(other.best.cpuid, 1)->eax = 0x00800f12;
  x86::find_entry(other.best.cpuid, 1)->ecx &= ~(1u << 13);  // cx16
  const x86::HostCpu baseline = x86::common_cpu(host_cpu(), other).value();
  VmConfig config = small_config();
  config.cpu_baseline = x86::encode_profile(baseline.best);
  const auto seen = ask_guest(config, 1, 0);
  EXPECT_EQ(seen.eax, std::min(0x00800f12u, x86::find_entry(host_cpu().best.cpuid, 1)->eax));
  EXPECT_EQ(seen.ecx >> 13 & 1, 0u);
  TestGuest guest(config);
  const CpuProfile profile = profile_of(guest.vm());
  EXPECT_EQ(profile.cpuid, baseline.best.cpuid);
  EXPECT_THAT(x86::differences(profile, other), testing::IsEmpty());
  VmConfig target = small_config();
  target.cpu = guest.vm().describe().cpu;
  EXPECT_EQ(TestGuest(target).vm().describe().cpu, target.cpu);
}

TEST_F(CpuTest, BaselineThatThisHostCannotGiveIsRefusedByName) {
  CpuProfile profile = host_cpu().best;
  x86::find_entry(profile.cpuid, 7)->ecx |= 1u << 16;  // la57
  VmConfig config = small_config();
  config.cpu_baseline = x86::encode_profile(profile);
  const auto vm = Vm::create(config);
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, Errc::kIncompatible);
  EXPECT_THAT(vm.error().message, HasSubstr("baseline"));
  EXPECT_THAT(vm.error().message, HasSubstr("la57"));
}

TEST_F(CpuTest, FeatureTakenAwayIsGoneAndSoIsItsMsr) {
  VmConfig config = small_config();
  {
    TestGuest guest(config);
    const CpuProfile profile = profile_of(guest.vm());
    if (!x86::has_feature(profile.cpuid, "tsc_adjust")) GTEST_SKIP() << "KVM has no tsc_adjust";
    EXPECT_THAT(profile.msrs, testing::Contains(0x3bu));
  }
  config.cpu_without = {"cx16", "tsc_adjust"};
  EXPECT_EQ(ask_guest(config, 1, 0).ecx >> 13 & 1, 0u);
  TestGuest guest(config);
  const CpuProfile profile = profile_of(guest.vm());
  EXPECT_FALSE(x86::has_feature(profile.cpuid, "tsc_adjust"));
  EXPECT_THAT(profile.msrs, testing::Not(testing::Contains(0x3bu)));
  // So a host that does not know that MSR takes the guest.
  x86::HostCpu other = host_cpu();
  std::erase(other.best.msrs, 0x3bu);
  EXPECT_THAT(x86::differences(profile, other), testing::IsEmpty());
}

TEST_F(CpuTest, UnknownFeatureToTakeAwayIsAnError) {
  VmConfig config = small_config();
  config.cpu_without = {"avx3"};
  const auto vm = Vm::create(config);
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, Errc::kInvalidArgument);
}

TEST_F(CpuTest, GarbageAsCpuIsAnError) {
  VmConfig config = small_config();
  config.cpu.assign(100, std::byte{0x5a});
  EXPECT_FALSE(Vm::create(config));
}

TEST_F(CpuTest, ModelIsOfferedOrItsMissingFeaturesAreNamed) {
  for (const CpuModel model : {CpuModel::kX86_64_v2, CpuModel::kX86_64_v3}) {
    auto table = x86::supported_cpuid(*KvmSystem::open());
    const auto missing = x86::apply_model(table, model, true);
    VmConfig config = small_config();
    config.cpu_model = model;
    const auto vm = Vm::create(config);
    ASSERT_EQ(vm.has_value(), missing.empty());
    if (!vm) {
      EXPECT_EQ(vm.error().code, Errc::kUnsupported);
      for (const auto& feature : missing) EXPECT_THAT(vm.error().message, HasSubstr(feature));
    }
  }
}

TEST_F(CpuTest, EveryMsrOfTheProfileCanBeReadAndSet) {
  TestGuest guest;
  const CpuProfile profile = profile_of(guest.vm());
  EXPECT_FALSE(profile.msrs.empty());
  for (const uint32_t needed : {0x174u, 0x277u, 0xc0000082u, 0xc0000102u}) {
    EXPECT_THAT(profile.msrs, testing::Contains(needed)) << x86::msr_name(needed);
  }
}

}  // namespace
}  // namespace godwit::vmm::test
