// The workload guest boots, works, talks and ends.
#include <thread>
#include <tuple>

#include "tests/workload/qemu_fixture.h"

namespace godwit::bench {
namespace {

using testing::HasSubstr;

// Accelerator and vCPUs.
class WorkloadGuest : public QemuTest,
                      public testing::WithParamInterface<std::tuple<const char*, unsigned>> {
 protected:
  void SetUp() override { require(std::get<0>(GetParam())); }
  [[nodiscard]] unsigned cpus() const { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Qemu, WorkloadGuest,
                         testing::Combine(testing::Values("tcg", "kvm"), testing::Values(1U, 2U)),
                         [](const auto& i) {
                           return std::string(std::get<0>(i.param)) +
                                  std::to_string(std::get<1>(i.param));
                         });

TEST_P(WorkloadGuest, SaysWhatItIsDoing) {
  auto qemu = start(options("g", cpus(), "ws=4M fill=8M rate=5000 report=0 content=mixed"));
  ASSERT_TRUE(qemu);
  const GuestLine line = answer(qemu->serial().wait_for("workload", kPatience));
  EXPECT_EQ(number(line, "vcpus"), cpus());
  EXPECT_GT(number(line, "memory"), 60U << 20);
  EXPECT_EQ(number(line, "ws_pages"), 1024U);
  EXPECT_EQ(number(line, "fill_pages"), 2048U);
  EXPECT_EQ(number(line, "rate"), 5000U);
  EXPECT_GT(number(line, "tsc_khz"), 100'000U);
}

TEST_P(WorkloadGuest, WritesAndChecksAndEndsWell) {
  auto qemu = boot(options("g", cpus(), "ws=4M fill=4M rate=max report=0"));
  ASSERT_TRUE(qemu);
  const uint64_t before = number(report(*qemu), "pages");
  expect_check_ok(*qemu);
  const GuestLine later = report(*qemu);
  EXPECT_GT(number(later, "pages"), before);
  // Each page is checked before it is written, and the full check comes on top.
  EXPECT_GE(number(later, "checked"), number(later, "pages") - before + 2048);
  expect_good_end(*qemu);
}

TEST_P(WorkloadGuest, StopsAndGoesOnWritingOnCommand) {
  auto qemu = boot(options("g", cpus(), "ws=4M rate=max report=0"));
  ASSERT_TRUE(qemu);
  EXPECT_EQ(answer(qemu->serial().ask('s', "writing", kPatience)).value("writing"), "0");
  // A full check passes through every vCPU's loop: after it none is in the middle of a write.
  expect_check_ok(*qemu);
  const uint64_t stopped = number(report(*qemu), "pages");
  expect_check_ok(*qemu);
  EXPECT_EQ(number(report(*qemu), "pages"), stopped);
  EXPECT_EQ(answer(qemu->serial().ask('s', "writing", kPatience)).value("writing"), "1");
  expect_check_ok(*qemu);
  EXPECT_GT(number(report(*qemu), "pages"), stopped);
  expect_good_end(*qemu);
}

TEST_P(WorkloadGuest, EndsByItselfAfterItsDuration) {
  auto qemu = start(options("g", cpus(), "ws=1M duration=0.2 report=0.05 check=0.05"));
  ASSERT_TRUE(qemu);
  answer(qemu->serial().wait_for("report", kPatience));
  answer(qemu->serial().wait_for("final", kPatience));
  EXPECT_EQ(qemu->wait_exit(kPatience).value(), kExitOk);
}

TEST_P(WorkloadGuest, ResetsTheLargestGapOnCommand) {
  auto qemu = boot(options("g", cpus(), "ws=1M rate=0 spin=1 report=0"));
  ASSERT_TRUE(qemu);
  report(*qemu);  // it spins by now
  // The host stops the whole guest: a gap that any bed shows.
  ASSERT_TRUE(qemu->qmp().command("stop"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ASSERT_TRUE(qemu->qmp().command("cont"));
  const GuestLine paused = answer(qemu->serial().ask('g', "report", kPatience));
  const double all =
      std::max(paused.decimal("gap_max_us").value(), paused.decimal("io_gap_us").value());
  const GuestLine after = report(*qemu);
  // Where KVM keeps the TSC still during a stop, the guest cannot see the pause.
  if (all < 200'000)
    GTEST_SKIP() << "the TSC stands still while QEMU stops the guest: " << paused.text;
  EXPECT_GE(all, 300'000);
  EXPECT_LT(after.decimal("gap_max_us").value(), 300'000);
}

class WorkloadGuestError : public QemuTest {};

TEST_F(WorkloadGuestError, ABadCommandLineIsNamedAndEndsTheGuest) {
  require("tcg");
  if (IsSkipped()) return;
  for (const auto& [line, what] : {std::pair{"speed=9", "unknown key: speed=9"},
                                   std::pair{"rate=often", "bad value: rate=often"},
                                   std::pair{"ws=1G", "ws does not fit in memory"}}) {
    auto qemu = start(options("g", 1, line));
    ASSERT_TRUE(qemu);
    const auto ready = qemu->serial().wait_for("ready", kPatience);
    ASSERT_FALSE(ready);
    EXPECT_THAT(ready.error().message, HasSubstr(what));
    EXPECT_EQ(qemu->wait_exit(kPatience).value(), kExitBadConfiguration);
  }
}

TEST_F(WorkloadGuestError, FewerCpusThanAskedForIsAnError) {
  require("tcg");
  if (IsSkipped()) return;
  QemuOptions o = options("g", 2, "");
  o.cpus = 1;
  auto qemu = start(o);
  ASSERT_TRUE(qemu);
  EXPECT_FALSE(qemu->serial().wait_for("ready", kPatience));
  EXPECT_EQ(qemu->wait_exit(kPatience).value(), kExitBadConfiguration);
}

}  // namespace
}  // namespace godwit::bench
