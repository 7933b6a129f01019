#include "bench/downtime/probe.h"

#include "gtest/gtest.h"

namespace godwit::bench {
namespace {

TEST(GuestFigures, WritesOutsideOfTheMigrationDoNotCount) {
  // 10 pages/ms, undisturbed for 500 of 1000 ms, at half speed for the 500 ms of the migration.
  const GuestBefore before{.sample = {.uptime_ms = 0, .pages = 0}, .pages_per_ms = 10};
  const GuestSample after{.uptime_ms = 1000, .pages = 7500, .gap_ms = 3};
  const Case c{.writes = true};
  RunFigures figures{.total_ms = 500};
  fill_guest_figures(before, after, c, figures);
  EXPECT_DOUBLE_EQ(figures.brownout, 0.5);
  EXPECT_DOUBLE_EQ(figures.guest_gap_ms, 3);
}

TEST(GuestFigures, AnIdleGuestHasNoBrownout) {
  RunFigures figures{.total_ms = 500};
  fill_guest_figures({}, {.gap_ms = 1}, Case{}, figures);
  EXPECT_DOUBLE_EQ(figures.brownout, 1);
}

TEST(CpuSample, AProcessThatIsNotThereHasNoVcpus) {
  EXPECT_FALSE(sample_cpu(-1, std::chrono::seconds(1)).has_vcpus);
}

}  // namespace
}  // namespace godwit::bench
