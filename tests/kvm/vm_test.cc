#include "vmm/vm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/kvm/require_kvm.h"
#include "tests/kvm/test_guest.h"

namespace godwit::vmm::test {
namespace {

using testing::ElementsAre;

class VmTest : public testing::Test {
 protected:
  void SetUp() override { GODWIT_REQUIRE_KVM(); }
};

TEST_F(VmTest, PortAccessesOfEverySizeReachTheHandler) {
  TestGuest guest;
  guest.start(g_ports);
  guest.write64(kBox + 0x100, 0x0d0c0b0a);
  guest.vm().resume();
  ASSERT_TRUE(guest.done().wait_for_writes(1)) << testing::PrintToString(guest.exceptions());
  EXPECT_THAT(guest.port().writes(), ElementsAre("0:1:11", "0:2:2222", "0:4:33333333", "0:1:a",
                                                 "0:1:b", "0:1:c", "0:1:d"));
  EXPECT_EQ(guest.read64(kBox), 1u);
  EXPECT_EQ(guest.read64(kBox + 8), 2u);
  EXPECT_EQ(guest.read64(kBox + 16), 3u);
  EXPECT_EQ(guest.read64(kBox + 0x200), 0x07060504u);  // rep insb: four reads more
}

TEST_F(VmTest, MemoryMappedAccessesReachTheHandlerAndNothingReadsAsOnes) {
  TestGuest guest;
  guest.start(g_mmio, {.rbx = TestGuest::kMmioBase, .rsi = TestGuest::kMmioBase + 0x10000});
  guest.vm().resume();
  ASSERT_TRUE(guest.done().wait_for_writes(1)) << testing::PrintToString(guest.exceptions());
  EXPECT_THAT(guest.mmio().writes(), ElementsAre("0:1:44", "4:4:55555555", "8:8:6666666666666666"));
  EXPECT_EQ(guest.read64(kBox), 1u);
  EXPECT_EQ(guest.read64(kBox + 8), 2u);
  EXPECT_EQ(guest.read64(kBox + 16), 0xffffffffu);
}

TEST_F(VmTest, LinuxProtocolStartsInLongModeWithItsSelectors) {
  TestGuest guest;
  guest.start_raw(g_long_entry, BootProtocol::kLinux64, {.rax = 0x1234});
  guest.vm().resume();
  ASSERT_TRUE(guest.done().wait_for_writes(1));
  EXPECT_EQ(guest.read64(kBox), kStartBlock);
  EXPECT_EQ(guest.read64(kBox + 8), 0x1234u);
  EXPECT_EQ(guest.read64(kBox + 16), 0x10u);
  EXPECT_EQ(guest.read64(kBox + 24), 0x18u);
}

TEST_F(VmTest, EntryOutsideRamIsAnError) {
  TestGuest guest;
  EXPECT_FALSE(guest.vm().start_at({BootProtocol::kPvh, Gpa{64u << 20}, Gpa{0}}));
  EXPECT_FALSE(guest.vm().start_at({BootProtocol::kPvh, Gpa{uint64_t{1} << 40}, Gpa{0}}));
}

TEST_F(VmTest, GuestExceptionsStayInTheGuest) {
  TestGuest guest;
  guest.start(g_divide_error);
  guest.vm().resume();
  ASSERT_TRUE(guest.wait_for_exception());
  EXPECT_THAT(guest.exceptions(), ElementsAre("0:4:0"));  // vector 0
  EXPECT_TRUE(guest.vm().running());
}

TEST_F(VmTest, TripleFaultIsAReset) {
  TestGuest guest;
  guest.start_raw(g_bad_instruction, BootProtocol::kPvh);
  guest.vm().resume();
  EXPECT_TRUE(guest.events().wait_for_reset());
}

TEST_F(VmTest, NothingRunsBeforeResumeOrAfterShutDown) {
  TestGuest guest;
  guest.start(g_counter, {.rbx = kData});
  EXPECT_FALSE(guest.vm().running());
  EXPECT_EQ(guest.read64(kData), 0u);
  guest.vm().resume();
  EXPECT_TRUE(guest.vm().running());
  ASSERT_TRUE(guest.wait_until(kData, 1000));
  guest.vm().shut_down();
  EXPECT_FALSE(guest.vm().running());
  guest.vm().resume();
  guest.vm().pause();
  EXPECT_FALSE(guest.vm().running());
}

TEST_F(VmTest, PausedGuestDoesNotMoveAndGoesOnAfterwards) {
  TestGuest guest;
  guest.start(g_counter, {.rbx = kData});
  guest.vm().resume();
  ASSERT_TRUE(guest.wait_until(kData, 1000));
  const PauseTimes times = guest.vm().pause();
  EXPECT_LE(times.requested, times.stopped);
  EXPECT_LE(times.stopped, times.quiesced);
  const uint64_t count = guest.read64(kData);
  const auto state = guest.save();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(guest.read64(kData), count);
  guest.vm().resume();
  EXPECT_TRUE(guest.wait_until(kData, count + 1000));
}

TEST_F(VmTest, FirstEntryIsReportedAfterEachResume) {
  TestGuest guest;
  guest.start(g_counter, {.rbx = kData});
  EXPECT_FALSE(guest.vm().wait_first_entry(Nanoseconds{0}));
  for (int i = 0; i < 20; ++i) {
    const TimePoint before = now();
    guest.vm().resume();
    const auto entry = guest.vm().wait_first_entry(kPatience);
    ASSERT_TRUE(entry);
    EXPECT_GE(*entry, before);
    EXPECT_LE(*entry, now());
    guest.vm().pause();
  }
}

TEST_F(VmTest, ThousandsOfPausesLoseNoExit) {
  // Each port read returns one more than the last one. A lost or repeated completion of an exit
  // would leave a gap between the guest's count and the numbers that it reads.
  TestGuest guest;
  guest.start(g_port_counter, {.rbx = kData});
  guest.vm().resume();
  ASSERT_TRUE(guest.wait_until(kData, 10));
  for (int i = 0; i < 3000; ++i) {
    guest.vm().pause();
    const uint64_t reads = guest.port().reads();
    const uint64_t counted = guest.read64(kData);
    ASSERT_TRUE(counted == reads || counted + 1 == reads) << counted << " of " << reads;
    ASSERT_EQ(guest.read64(kData + 8), 0u);
    guest.vm().resume();
    ASSERT_TRUE(guest.vm().wait_first_entry(kPatience));
  }
}

TEST_F(VmTest, PausingAndResumingAtOnceHoldsForManyVcpus) {
  VmConfig config = small_config();
  config.vcpus = 4;
  TestGuest guest(config);
  guest.start(g_start_aps, {.rcx = 3});
  guest.vm().resume();
  ASSERT_TRUE(guest.done().wait_for_writes(1));
  for (int i = 0; i < 500; ++i) {
    guest.vm().pause();
    guest.vm().resume();
    if (i % 2 == 0) {
      ASSERT_TRUE(guest.vm().wait_first_entry(kPatience));
    }
  }
  for (uint64_t cpu = 0; cpu < 4; ++cpu) {
    const uint64_t place = kBox + 0x200 + cpu * 64;
    EXPECT_TRUE(guest.wait_until(place, guest.read64(place) + 1)) << "vCPU " << cpu;
  }
}

TEST_F(VmTest, TooManyVcpusIsAnError) {
  VmConfig config = small_config();
  config.vcpus = 65;
  const auto vm = Vm::create(config);
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, Errc::kInvalidArgument);
  config.vcpus = 0;
  EXPECT_FALSE(Vm::create(config));
}

}  // namespace
}  // namespace godwit::vmm::test
