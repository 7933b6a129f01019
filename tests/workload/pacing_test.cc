// Which page and when.
#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "bench/workload/core/pacer.h"
#include "bench/workload/core/picker.h"
#include "gtest/gtest.h"

namespace godwit::workload {
namespace {

constexpr uint64_t kHz = 2'596'000'000;
constexpr uint64_t kMs = kHz / 1000;

std::vector<uint64_t> draw(Pattern pattern, uint64_t pages, size_t draws) {
  PagePicker picker(pattern, pages, 3);
  std::vector<uint64_t> hits(pages);
  for (size_t i = 0; i < draws; ++i) {
    const uint64_t page = picker.next();
    EXPECT_LT(page, pages);
    if (page < pages) ++hits[page];
  }
  return hits;
}

TEST(PagePicker, SequentialVisitsEveryPageInTurn) {
  PagePicker picker(Pattern::kSequential, 3, 1);
  std::vector<uint64_t> pages;
  for (int i = 0; i < 7; ++i) pages.push_back(picker.next());
  EXPECT_EQ(pages, (std::vector<uint64_t>{0, 1, 2, 0, 1, 2, 0}));
}

TEST(PagePicker, UniformIsEven) {
  const auto hits = draw(Pattern::kUniform, 100, 100'000);
  EXPECT_GT(*std::min_element(hits.begin(), hits.end()), 850U);
  EXPECT_LT(*std::max_element(hits.begin(), hits.end()), 1150U);
}

TEST(PagePicker, ZipfIsSteepAndReachesEveryPage) {
  constexpr uint64_t kPages = 1000;
  constexpr size_t kDraws = 400'000;
  auto hits = draw(Pattern::kZipf, kPages, kDraws);
  // Hot pages are scattered: the hottest two are no neighbours.
  const auto hottest = std::max_element(hits.begin(), hits.end()) - hits.begin();
  std::sort(hits.rbegin(), hits.rend());
  const auto top = [&](size_t n) {
    return static_cast<double>(
               std::accumulate(hits.begin(), hits.begin() + static_cast<long>(n), 0.0)) /
           kDraws;
  };
  EXPECT_EQ(hottest, 0);
  // ln(11)/ln(1000) and ln(101)/ln(1000).
  EXPECT_NEAR(top(10), 0.347, 0.03);
  EXPECT_NEAR(top(100), 0.668, 0.03);
  EXPECT_GE(std::count_if(hits.begin(), hits.end(), [](uint64_t n) { return n > 0; }), 985);
}

TEST(PagePicker, OnePageIsAlwaysThatPage) {
  for (const Pattern p : {Pattern::kSequential, Pattern::kUniform, Pattern::kZipf}) {
    EXPECT_EQ(draw(p, 1, 10), std::vector<uint64_t>{10});
  }
}

// Asks like a vCPU that halts whenever nothing is due.
uint64_t count_until(Pacer& pacer, uint64_t& now, uint64_t end) {
  uint64_t taken = 0;
  while (now < end) {
    if (pacer.take(now)) {
      ++taken;
      now += kMs / 1000;
    } else {
      now = std::max(now + 1, std::min(pacer.wake(), end));
    }
  }
  return taken;
}

TEST(Pacer, IsExactOnAverageAtOddRates) {
  for (const uint64_t rate : {1U, 7U, 300U, 999U, 20'000U, 33'333U, 100'000U}) {
    uint64_t now = 1'000'000;
    Pacer pacer(rate, kHz, now);
    const uint64_t taken = count_until(pacer, now, now + 10 * kHz);
    EXPECT_NEAR(static_cast<double>(taken), static_cast<double>(10 * rate),
                2 + static_cast<double>(rate) / 100);
  }
}

TEST(Pacer, CatchesUpAfterAShortPauseAtTwiceTheRateAtMost) {
  uint64_t now = 0;
  Pacer pacer(20'000, kHz, now);
  count_until(pacer, now, 10 * kMs);
  now += 10 * kMs;
  EXPECT_LE(count_until(pacer, now, now + kMs), 41U);
  EXPECT_NEAR(static_cast<double>(count_until(pacer, now, 40 * kMs)), 600 - 41, 45);
}

TEST(Pacer, ForgetsTheBacklogOfALongPause) {
  uint64_t now = 0;
  Pacer pacer(20'000, kHz, now);
  count_until(pacer, now, 10 * kMs);
  now += 1000 * kMs;
  EXPECT_LE(count_until(pacer, now, now + 100 * kMs), 2000U + 400U + 41U);
}

}  // namespace
}  // namespace godwit::workload
