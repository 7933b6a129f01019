// Dirty tracking on real KVM. A tracker may report too much (page tables, for one) but never too
// little, so the tests ask for a superset, and that it is not simply everything.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tests/kvm/require_kvm.h"
#include "tests/kvm/test_guest.h"
#include "vmm/kvm/capabilities.h"
#include "vmm/kvm/dirty_log.h"
#include "vmm/kvm/ioctl.h"

namespace godwit::vmm::test {
namespace {

constexpr uint64_t kRequest = 0x90000;  // g_rounds: round wanted, then round done
constexpr uint64_t kWindowPages = 8192;
constexpr uint64_t kFirstPage = kData / kPageSize;

// The pages that g_rounds and g_random_writer write next; moves `seed` on as they do.
DirtyBitmap predict(GuestMemory& memory, uint64_t& seed, uint64_t writes) {
  DirtyBitmap expected(memory.page_count());
  for (uint64_t i = 0; i < writes; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    expected.set(PageIndex{kFirstPage + ((seed >> 33) & (kWindowPages - 1))});
  }
  return expected;
}

uint64_t missing(const DirtyBitmap& expected, const DirtyBitmap& reported) {
  uint64_t count = 0;
  expected.for_each([&](PageIndex page) { count += reported.test(page) ? 0 : 1; });
  return count;
}

class DirtyTest : public testing::TestWithParam<DirtyTracking> {
 protected:
  void SetUp() override {
    GODWIT_REQUIRE_KVM();
    if (const auto vm = Vm::create(small_config(GetParam())); !vm) {
      GTEST_SKIP() << vm.error().message;
    }
  }
};

TEST_P(DirtyTest, EveryPageOfARandomWriterIsReported) {
  TestGuest guest(small_config(GetParam()));
  constexpr uint64_t kWrites = 3000;
  uint64_t seed = 42;
  guest.start(g_rounds,
              {.rbx = kData, .rcx = kWrites, .rdx = kWindowPages - 1, .rdi = kRequest, .r8 = seed});
  DirtyTracker& tracker = guest.vm().dirty_tracker();
  guest.vm().resume();
  tracker.start();
  for (uint64_t round = 1; round <= 20; ++round) {
    const DirtyBitmap expected = predict(guest.vm().memory(), seed, kWrites);
    guest.write64(kRequest, round);
    ASSERT_TRUE(guest.wait_until(kRequest + 8, round));
    guest.vm().pause();
    DirtyBitmap reported(guest.vm().memory().page_count());
    tracker.harvest(reported);
    guest.vm().resume();
    EXPECT_EQ(missing(expected, reported), 0u) << "round " << round;
    EXPECT_LT(reported.count(), expected.count() + 100) << "round " << round;
  }
  tracker.stop();
}

TEST_P(DirtyTest, CopyMadeWhileTheGuestWritesIsExactAfterTheFinalHarvest) {
  TestGuest guest(small_config(GetParam()));
  GuestMemory& memory = guest.vm().memory();
  guest.start(g_random_writer,
              {.rbx = kData, .rcx = uint64_t{1} << 60, .rdx = kWindowPages - 1, .r8 = 7});
  DirtyTracker& tracker = guest.vm().dirty_tracker();
  guest.vm().resume();
  ASSERT_TRUE(guest.wait_until(kData, 1));
  std::vector<std::byte> copy(memory.size().value);
  const auto copy_page = [&](PageIndex page) {
    std::memcpy(copy.data() + page.value * kPageSize, memory.page(page), kPageSize);
  };
  tracker.start();
  for (uint64_t page = 0; page < memory.page_count(); ++page) copy_page(PageIndex{page});
  DirtyBitmap dirty(memory.page_count());
  for (int round = 0; round < 25; ++round) {
    dirty.clear_all();
    tracker.harvest(dirty);
    dirty.for_each(copy_page);
  }
  guest.vm().pause();
  guest.save();
  dirty.clear_all();
  tracker.harvest(dirty);
  dirty.for_each(copy_page);
  EXPECT_EQ(std::memcmp(copy.data(), memory.base(), copy.size()), 0);
  tracker.stop();
}

TEST_P(DirtyTest, HostWritesAreReportedFromStartToStop) {
  TestGuest guest(small_config(GetParam()));
  DirtyTracker& tracker = guest.vm().dirty_tracker();
  GuestMemory& memory = guest.vm().memory();
  guest.write64(0x300000, 1);
  tracker.start();
  guest.write64(0x400000, 1);
  DirtyBitmap dirty(memory.page_count());
  tracker.harvest(dirty);
  EXPECT_FALSE(dirty.test(PageIndex{0x300}));
  EXPECT_TRUE(dirty.test(PageIndex{0x400}));
  dirty.clear_all();
  tracker.harvest(dirty);
  EXPECT_TRUE(dirty.empty());
  tracker.stop();
  guest.write64(0x500000, 1);
  tracker.start();
  tracker.harvest(dirty);
  EXPECT_TRUE(dirty.empty());
}

TEST_P(DirtyTest, WhatWasWrittenBeforeStartDoesNotCountAlsoTheSecondTime) {
  TestGuest guest(small_config(GetParam()));
  guest.start(g_rounds, {.rbx = kData, .rcx = 3000, .rdx = kWindowPages - 1, .rdi = kRequest});
  DirtyTracker& tracker = guest.vm().dirty_tracker();
  guest.vm().resume();
  uint64_t round = 0;
  for (int session = 0; session < 3; ++session) {
    guest.write64(kRequest, ++round);
    ASSERT_TRUE(guest.wait_until(kRequest + 8, round));
    guest.vm().pause();
    tracker.start();
    DirtyBitmap dirty(guest.vm().memory().page_count());
    tracker.harvest(dirty);
    EXPECT_LT(dirty.count(), 100u) << "session " << session;
    guest.vm().resume();
    guest.write64(kRequest, ++round);
    ASSERT_TRUE(guest.wait_until(kRequest + 8, round));
    guest.vm().pause();
    tracker.harvest(dirty);
    EXPECT_GT(dirty.count(), 1000u) << "session " << session;
    guest.vm().resume();
    if (session == 1) tracker.stop();  // else: start() of a started tracker
  }
}

TEST_P(DirtyTest, PagesAboveTheHoleHaveTheirOwnIndex) {
  VmConfig config = small_config(GetParam());
  config.memory.size = ByteCount{kHoleStart.value + (64_MiB).value};
  TestGuest guest(config);
  constexpr uint64_t kPages = 500;
  guest.start(g_touch, {.rbx = kHoleEnd.value + 7 * kPageSize, .rcx = kPages});
  DirtyTracker& tracker = guest.vm().dirty_tracker();
  tracker.start();
  guest.vm().resume();
  ASSERT_TRUE(guest.done().wait_for_writes(1)) << testing::PrintToString(guest.exceptions());
  guest.vm().pause();
  DirtyBitmap dirty(guest.vm().memory().page_count());
  tracker.harvest(dirty);
  DirtyBitmap expected(dirty.pages());
  expected.set_range(PageIndex{786432 + 7}, kPages);
  EXPECT_EQ(missing(expected, dirty), 0u);
  EXPECT_LT(dirty.count(), kPages + 100);
}

TEST_P(DirtyTest, MorePagesThanARingHoldsAreAllReported) {
  VmConfig config = small_config(GetParam());
  config.memory.size = 512_MiB;
  TestGuest guest(config);
  constexpr uint64_t kPages = 100000;
  guest.start(g_touch, {.rbx = kData, .rcx = kPages});
  DirtyTracker& tracker = guest.vm().dirty_tracker();
  tracker.start();
  guest.vm().resume();
  ASSERT_TRUE(guest.done().wait_for_writes(1)) << testing::PrintToString(guest.exceptions());
  guest.vm().pause();
  DirtyBitmap dirty(guest.vm().memory().page_count());
  tracker.harvest(dirty);
  DirtyBitmap expected(dirty.pages());
  expected.set_range(PageIndex{kFirstPage}, kPages);
  EXPECT_EQ(missing(expected, dirty), 0u);
  EXPECT_LT(dirty.count(), kPages + 1000);
}

TEST_P(DirtyTest, WritesOfSeveralVcpusAreAllReported) {
  VmConfig config = small_config(GetParam());
  config.vcpus = 4;
  TestGuest guest(config);
  guest.start(g_start_aps, {.rcx = 3});
  DirtyTracker& tracker = guest.vm().dirty_tracker();
  tracker.start();
  guest.vm().resume();
  ASSERT_TRUE(guest.done().wait_for_writes(1)) << testing::PrintToString(guest.exceptions());
  DirtyBitmap dirty(guest.vm().memory().page_count());
  for (int round = 0; round < 50; ++round) {
    guest.vm().pause();
    dirty.clear_all();
    tracker.harvest(dirty);
    const uint64_t before = guest.read64(kBox + 0x240);
    guest.vm().resume();
    ASSERT_TRUE(guest.wait_until(kBox + 0x240, before + 1));
    guest.vm().pause();
    dirty.clear_all();
    tracker.harvest(dirty);
    EXPECT_TRUE(dirty.test(PageIndex{kBox / kPageSize}));
    guest.vm().resume();
  }
}

std::string name_of(const testing::TestParamInfo<DirtyTracking>& info) {
  return info.param == DirtyTracking::kLog ? "Log" : "Ring";
}
INSTANTIATE_TEST_SUITE_P(Trackers, DirtyTest,
                         testing::Values(DirtyTracking::kLog, DirtyTracking::kRing), name_of);

// The three ways in which KVM keeps its log, on a bare vCPU in real mode.
class DirtyLogModes : public testing::TestWithParam<uint32_t> {};

TEST_P(DirtyLogModes, ReportsWhatWasWrittenSinceTheLastHarvest) {
  GODWIT_REQUIRE_KVM();
  const auto system = KvmSystem::open().value();
  KvmVm vm(system);
  if ((probe_capabilities(vm).manual_dirty_log_protect & GetParam()) != GetParam()) {
    GTEST_SKIP() << "KVM here lacks this mode of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2";
  }
  const auto memory = GuestMemory::create({.size = 16_MiB}).value();
  MemorySlots slots(vm, *memory);
  DirtyLog log(vm, slots, *memory, GetParam());
  const auto vcpu = vm.create_vcpu(0);
  // 1: mov ds, ax; inc byte [0]; add ax, 0x100; dec cx; jnz 1b; hlt
  constexpr uint8_t kCode[] = {0x8e, 0xd8, 0xfe, 0x06, 0x00, 0x00, 0x05,
                               0x00, 0x01, 0x49, 0x75, 0xf4, 0xf4};
  memory->write(Gpa{0x1000}, std::as_bytes(std::span(kCode))).value();
  const auto write_pages = [&](uint64_t first, uint64_t count) {
    kvm_sregs sregs{};
    GODWIT_IOCTL(vcpu->fd(), KVM_GET_SREGS, &sregs);
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    GODWIT_IOCTL(vcpu->fd(), KVM_SET_SREGS, &sregs);
    kvm_regs regs{};
    regs.rip = 0x1000;
    regs.rflags = 2;
    regs.rax = first << 8;
    regs.rcx = count;
    GODWIT_IOCTL(vcpu->fd(), KVM_SET_REGS, &regs);
    ASSERT_EQ(vcpu->enter(), 0);
    ASSERT_EQ(vcpu->run_area().exit_reason, uint32_t{KVM_EXIT_HLT});
  };
  write_pages(0x10, 0x40);
  log.start();
  DirtyBitmap dirty(memory->page_count());
  log.harvest(dirty);
  EXPECT_TRUE(dirty.empty());
  for (uint64_t round = 0; round < 4; ++round) {
    write_pages(0x20 + round, 0x10);
    write_pages(0x80 + round, 1);
    log.harvest(dirty);
    DirtyBitmap expected(dirty.pages());
    expected.set_range(PageIndex{0x20 + round}, 0x10);
    expected.set(PageIndex{0x80 + round});
    EXPECT_EQ(missing(expected, dirty), 0u) << "round " << round;
    EXPECT_LE(dirty.count(), expected.count() + 2) << "round " << round;
    dirty.clear_all();
  }
  log.stop();
}

INSTANTIATE_TEST_SUITE_P(Modes, DirtyLogModes,
                         testing::Values(0, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
                                         KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
                                             KVM_DIRTY_LOG_INITIALLY_SET));

}  // namespace
}  // namespace godwit::vmm::test
