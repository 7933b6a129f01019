#include "migration/engine/convergence.h"

#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// 1 ms fixed, 100 pages per ms.
BudgetTerms terms() {
  return {.stop = milliseconds(1), .pages_per_second = 100'000};
}

class ConvergenceTest : public testing::Test {
 protected:
  Decision after(uint64_t dirty_pages, Nanoseconds step = milliseconds(10)) {
    at_ += step;
    return convergence().decide({.at = at_, .dirty_pages = dirty_pages, .terms = terms()});
  }
  Convergence& convergence() {
    if (!convergence_) convergence_.emplace(parameters);
    return *convergence_;
  }
  MigrationParameters parameters{.downtime_limit = milliseconds(10),
                                 .converge_timeout = seconds(1)};

 private:
  TimePoint at_{};
  std::optional<Convergence> convergence_;
};

TEST_F(ConvergenceTest, EveryTermCounts) {
  BudgetTerms t{.stop = Nanoseconds(1),
                .save = Nanoseconds(10),
                .harvest = Nanoseconds(100),
                .load = Nanoseconds(1000),
                .send_state = Nanoseconds(10000),
                .round_trip = Nanoseconds(100000),
                .pages_per_second = 1000};
  EXPECT_EQ(t.predict(0), Nanoseconds(111111));
  EXPECT_EQ(t.predict(1), Nanoseconds(1111111));
  t.storage = Nanoseconds(5000000);
  EXPECT_EQ(t.predict(0), Nanoseconds(5111111));
  EXPECT_EQ(t.predict(1), Nanoseconds(6111111));
}

TEST_F(ConvergenceTest, SwitchesWhenItFitsAndNothingShrinksAnyMore) {
  EXPECT_EQ(after(100'000), Decision::kIterate);
  EXPECT_EQ(after(800), Decision::kIterate) << "9 ms fit, but it still shrinks";
  EXPECT_EQ(after(300), Decision::kIterate);
  EXPECT_EQ(after(290), Decision::kSwitchover);
  EXPECT_TRUE(convergence().converging());
}

TEST_F(ConvergenceTest, DisksThatDoNotFitKeepTheGuestRunning) {
  // 5 pages, and 100 MiB of disks that would take 90 ms.
  Convergence::Sample sample{.dirty_pages = 5, .dirty_storage_bytes = 100 << 20, .terms = terms()};
  sample.terms.storage = milliseconds(90);
  EXPECT_EQ(convergence().decide(sample), Decision::kIterate);
  EXPECT_GT(convergence().predicted(), milliseconds(91));
  EXPECT_NE(convergence().reason().find("102400 KiB of disks"), std::string::npos);
  sample.dirty_storage_bytes = 64 << 10;
  sample.terms.storage = Nanoseconds(1000);
  EXPECT_EQ(convergence().decide(sample), Decision::kSwitchover);
}

TEST_F(ConvergenceTest, SwitchesAtOnceWhenTheResidueIsNotFelt) {
  EXPECT_EQ(after(5), Decision::kSwitchover);
}

TEST_F(ConvergenceTest, DoesNotPolishForEver) {
  uint64_t dirty = 900;
  int rounds = 0;
  while (after(dirty) == Decision::kIterate && rounds < 100) {
    ++rounds;
    dirty = dirty * 7 / 10;
  }
  EXPECT_LE(rounds, 8);
}

TEST_F(ConvergenceTest, SaysWhenItDoesNotConverge) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(after(50'000), Decision::kIterate);
  EXPECT_TRUE(convergence().converging());
  EXPECT_EQ(after(50'000), Decision::kIterate);
  EXPECT_FALSE(convergence().converging());
  EXPECT_NE(convergence().reason().find("predicted downtime 501.000 ms, limit 10.000 ms"),
            std::string::npos)
      << convergence().reason();
}

TEST_F(ConvergenceTest, ASlowlyShrinkingResidueIsConvergence) {
  uint64_t dirty = 1'000'000;
  for (int i = 0; i < 20; ++i) {
    dirty = dirty * 85 / 100;
    EXPECT_EQ(after(dirty), Decision::kIterate);
    EXPECT_TRUE(convergence().converging());
  }
}

TEST_F(ConvergenceTest, TimeLimitOfNonConvergenceRunsFromItsBeginning) {
  parameters.on_no_converge = OnNoConverge::kCancel;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(after(50'000), Decision::kIterate);
  EXPECT_EQ(after(50'000, milliseconds(900)), Decision::kIterate);
  EXPECT_EQ(after(50'000, milliseconds(200)), Decision::kCancel);
}

TEST_F(ConvergenceTest, SwitchesAnywayWhenAskedTo) {
  parameters.on_no_converge = OnNoConverge::kSwitchover;
  for (int i = 0; i < 4; ++i) after(50'000);
  EXPECT_EQ(after(50'000, seconds(2)), Decision::kSwitchover);
}

TEST_F(ConvergenceTest, WaitsOnWhenAskedTo) {
  parameters.on_no_converge = OnNoConverge::kWait;
  for (int i = 0; i < 4; ++i) after(50'000);
  EXPECT_EQ(after(50'000, seconds(1000)), Decision::kIterate);
  EXPECT_EQ(after(2), Decision::kSwitchover) << "the guest calmed down";
}

}  // namespace
}  // namespace godwit::migration
