// Free page hints on real dirty tracking: a guest that was said not to use pages writes to them,
// and what it wrote arrives.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "migration/source.h"
#include "migration/target.h"
#include "tests/kvm/require_kvm.h"
#include "tests/kvm/test_guest.h"
#include "tests/support/faulty_link.h"

namespace godwit::vmm::test {
namespace {

constexpr uint64_t kWindowPages = 4096;  // that the guest writes to
constexpr uint64_t kFirstPage = kData / kPageSize;
constexpr uint64_t kIdlePages = 2048;  // behind them: filled once, never written again
constexpr uint64_t kIdle = kFirstPage + kWindowPages;

// A Vm whose guest gives hints, or one whose memory is kept as it was when it went on.
class Wrapped final : public Machine {
 public:
  explicit Wrapped(Vm& vm) : vm_(vm) {}
  explicit Wrapped(std::unique_ptr<Vm> vm) : vm_(*vm), own_(std::move(vm)) {}
  MachineDescription describe() const override { return vm_.describe(); }
  GuestMemory& memory() override { return vm_.memory(); }
  DirtyTracker& dirty_tracker() override { return vm_.dirty_tracker(); }
  FreePageHints* free_page_hints() override { return hints; }
  PauseTimes pause() override { return vm_.pause(); }
  void resume() override {
    at_resume.assign(memory().base(), memory().base() + memory().size().value);
    vm_.resume();
  }
  bool running() const override { return vm_.running(); }
  void release() override { vm_.release(); }
  void save(ByteWriter& out) override { vm_.save(out); }
  Result<> load(std::span<const std::byte> state, std::optional<Nanoseconds> offset) override {
    return vm_.load(state, offset);
  }
  std::optional<TimePoint> wait_first_entry(Nanoseconds limit) override {
    return vm_.wait_first_entry(limit);
  }

  FreePageHints* hints = nullptr;
  std::vector<std::byte> at_resume;

 private:
  Vm& vm_;
  std::unique_ptr<Vm> own_;
};

class Factory final : public MachineFactory {
 public:
  explicit Factory(VmConfig config) : config_(std::move(config)) {}
  Result<std::unique_ptr<Machine>> create(const MachineDescription& wanted) override {
    config_.cpu = wanted.cpu;
    GODWIT_ASSIGN(auto vm, Vm::create(config_));
    return std::unique_ptr<Machine>(std::make_unique<Wrapped>(std::move(vm)));
  }

 private:
  VmConfig config_;
};

// Says again and again, from the first moment of the session to the last, that all of it is free.
class EverythingFree final : public FreePageHints {
 public:
  explicit EverythingFree(const GuestMemory& memory) : memory_(memory) {}
  bool begin(FreePageSink& sink) override {
    for (uint64_t p = kFirstPage; p < kIdle; ++p) newest = std::max(newest, stamp_of(p));
    speaker_ = std::jthread([&sink](const std::stop_token& stop) {
      for (uint64_t at = 0; !stop.stop_requested(); at = (at + 64) % (kWindowPages + kIdlePages))
        sink.add_free(PageIndex{kFirstPage + at}, 64);
    });
    return true;
  }
  void end() noexcept override {
    speaker_ = {};
    ended = true;
  }
  [[nodiscard]] uint64_t stamp_of(uint64_t page) const {
    uint64_t stamp;
    std::memcpy(&stamp, memory_.page(PageIndex{page}), sizeof stamp);
    return stamp;
  }
  uint64_t newest = 0;  // that the guest had written when it was asked; at least
  bool ended = false;

 private:
  const GuestMemory& memory_;
  std::jthread speaker_;
};

class FreePagesOnKvm : public testing::TestWithParam<DirtyTracking> {
 protected:
  void SetUp() override {
    GODWIT_REQUIRE_KVM();
    if (const auto vm = Vm::create(small_config(GetParam())); !vm)
      GTEST_SKIP() << vm.error().message;
  }
};

TEST_P(FreePagesOnKvm, WhatIsWrittenAfterTheHintArrives) {
  TestGuest guest(small_config(GetParam()));
  GuestMemory& memory = guest.vm().memory();
  const std::vector<std::byte> content(kIdlePages * kPageSize, std::byte{9});
  ASSERT_TRUE(memory.write(Gpa{kIdle * kPageSize}, content));
  guest.start(g_random_writer,
              {.rbx = kData, .rcx = uint64_t{1} << 60, .rdx = kWindowPages - 1, .r8 = 7});
  guest.vm().resume();
  ASSERT_TRUE(guest.wait_until(kData, 1));
  EverythingFree hints(memory);
  Wrapped here(guest.vm());
  here.hints = &hints;

  support::FaultyLink link;
  Factory factory(small_config(GetParam()));
  migration::MigrationSource source(here, link.connector(),
                                    {.downtime_limit = std::chrono::seconds(60)});
  migration::MigrationTarget target(link.acceptor(), factory, {});
  migration::TargetResult arrived;
  std::jthread receiving([&] { arrived = target.run(); });
  const auto result = source.run();
  receiving.join();
  ASSERT_EQ(result.progress.status, migration::Status::kCompleted) << result.error->message;
  EXPECT_TRUE(hints.ended);
  EXPECT_GE(result.progress.free_pages, kIdlePages / 2);

  const auto& there = static_cast<Wrapped&>(*arrived.machine).at_resume;
  uint64_t written = 0, zero = 0;
  for (uint64_t p = 0; p < memory.page_count(); ++p) {
    const std::byte* const its = there.data() + p * kPageSize;
    if (std::memcmp(its, memory.page(PageIndex{p}), kPageSize) == 0) {
      written += p >= kFirstPage && p < kIdle && hints.stamp_of(p) > hints.newest;
      continue;
    }
    ASSERT_TRUE(p >= kFirstPage && p < kIdle + kIdlePages) << p << " was not hinted";
    ASSERT_TRUE(p >= kIdle || hints.stamp_of(p) <= hints.newest) << p << " was written since";
    ASSERT_EQ(std::count(its, its + kPageSize, std::byte{0}), kPageSize) << p;
    ++zero;
  }
  EXPECT_GT(written, 0u);
  EXPECT_GT(zero, 0u);
}

INSTANTIATE_TEST_SUITE_P(Trackers, FreePagesOnKvm,
                         testing::Values(DirtyTracking::kLog, DirtyTracking::kRing),
                         [](const auto& param_info) {
                           return param_info.param == DirtyTracking::kLog ? "Log" : "Ring";
                         });

}  // namespace
}  // namespace godwit::vmm::test
