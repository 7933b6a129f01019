#include "bench/downtime/stats.h"

#include "gtest/gtest.h"

namespace godwit::bench {
namespace {

std::vector<double> one_to(int last) {
  std::vector<double> values;
  for (int i = last; i >= 1; --i) values.push_back(i);
  return values;
}

TEST(Percentile, IsTheNearestRank) {
  EXPECT_EQ(percentile(one_to(100), 50), 50);
  EXPECT_EQ(percentile(one_to(100), 95), 95);
  EXPECT_EQ(percentile(one_to(100), 99), 99);
  EXPECT_EQ(percentile(one_to(7), 50), 4);
}

TEST(Percentile, TailOfFewValuesIsTheLargest) {
  EXPECT_EQ(percentile(one_to(7), 95), 7);
  EXPECT_EQ(percentile({3}, 1), 3);
}

TEST(Percentile, EndsAreMinimumAndMaximum) {
  EXPECT_EQ(percentile(one_to(9), 0), 1);
  EXPECT_EQ(percentile(one_to(9), 100), 9);
}

TEST(Percentile, OfNothingIsZero) {
  EXPECT_EQ(percentile({}, 50), 0);
  EXPECT_EQ(summarize({}).count, 0u);
}

TEST(Summary, HoldsAllFigures) {
  const Summary s = summarize(one_to(200));
  EXPECT_EQ(s.count, 200u);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.p50, 100);
  EXPECT_EQ(s.p95, 190);
  EXPECT_EQ(s.p99, 198);
  EXPECT_EQ(s.max, 200);
}

}  // namespace
}  // namespace godwit::bench
