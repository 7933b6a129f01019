#include "migration/transport/rate_limiter.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace godwit::migration {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kMB = 1'000'000;

// Time that passes only by waiting.
class FakeTime {
 public:
  RateLimiter::TimeSource source() {
    return {.now = [this] { return time_; },
            .wait_until =
                [this](std::unique_lock<std::mutex>&, std::condition_variable&, TimePoint until,
                       const std::function<bool()>& interrupted) {
                  ++waits_;
                  if (!interrupted()) time_ = std::max(time_, until);
                }};
  }
  void pass(Nanoseconds duration) { time_ += duration; }
  double seconds_passed() const { return to_seconds(time_ - start_); }
  int waits() const { return waits_; }

 private:
  TimePoint start_{seconds(1000)};
  TimePoint time_ = start_;
  int waits_ = 0;
};

TEST(RateLimiter, LongTransfersTakeBytesOverRate) {
  FakeTime time;
  RateLimiter limiter(100 * kMB, time.source());
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(limiter.acquire(kMB));
  // 1 GB at 100 MB/s, less the first burst of 10 ms (1 MB).
  EXPECT_NEAR(time.seconds_passed(), 9.99, 0.0001);
}

TEST(RateLimiter, IdleTimeSavesUpNoMoreThanABurst) {
  FakeTime time;
  RateLimiter limiter(100 * kMB, time.source());
  time.pass(seconds(100));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(limiter.acquire(100'000));
  EXPECT_EQ(time.waits(), 0);
  ASSERT_TRUE(limiter.acquire(100'000));
  EXPECT_EQ(time.waits(), 1);
}

TEST(RateLimiter, ASlowLimitLetsOneLargeSendThroughAtOnce) {
  FakeTime time;
  RateLimiter limiter(kMB, time.source());
  ASSERT_TRUE(limiter.acquire(RateLimiter::kMinBurstBytes));
  EXPECT_EQ(time.waits(), 0);
}

TEST(RateLimiter, MoreThanABurstAtOnceWaitsForAllOfIt) {
  FakeTime time;
  RateLimiter limiter(10 * kMB, time.source());
  ASSERT_TRUE(limiter.acquire(50 * kMB + RateLimiter::kMinBurstBytes));
  EXPECT_NEAR(time.seconds_passed(), 5.0, 0.0001);
}

TEST(RateLimiter, AnAbsurdDebtDoesNotOverflowTheClock) {
  FakeTime time;
  RateLimiter limiter(1 << 20, time.source());
  ASSERT_TRUE(limiter.acquire(uint64_t{1} << 40));
  EXPECT_NEAR(time.seconds_passed(), 1 << 20, 1.0);
  EXPECT_GT(time.waits(), 1);
}

TEST(RateLimiter, ZeroIsNoLimitAndNeverWaits) {
  FakeTime time;
  RateLimiter limiter(0, time.source());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(limiter.acquire(uint64_t{1} << 40));
  EXPECT_EQ(time.waits(), 0);
}

TEST(RateLimiter, ANewRateCountsFromThenOn) {
  FakeTime time;
  RateLimiter limiter(10 * kMB, time.source());
  ASSERT_TRUE(limiter.acquire(10 * kMB));
  limiter.set_rate(100 * kMB);
  const double before = time.seconds_passed();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(limiter.acquire(kMB));
  EXPECT_NEAR(time.seconds_passed() - before, 1.0, 0.02);
  limiter.set_rate(0);
  const int waits = time.waits();
  ASSERT_TRUE(limiter.acquire(1000 * kMB));
  EXPECT_EQ(time.waits(), waits);
}

TEST(RateLimiter, ShutdownEndsWaitsForGood) {
  RateLimiter limiter(1);  // the next byte after half a day
  std::jthread waiter([&] {
    const auto result = limiter.acquire(kMB);
    EXPECT_EQ(result.error().code, Errc::kCancelled);
  });
  limiter.shutdown();
  waiter.join();
  EXPECT_EQ(limiter.acquire(1).error().code, Errc::kCancelled);
}

TEST(RateLimiter, LiftingTheLimitFreesTheWaiting) {
  RateLimiter limiter(1);
  std::jthread waiter([&] { EXPECT_TRUE(limiter.acquire(kMB)); });
  limiter.set_rate(0);
}

TEST(RateLimiter, ThreadsShareOneBudget) {
  RateLimiter limiter(50 * kMB);
  const TimePoint start = now();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 25; ++k) ASSERT_TRUE(limiter.acquire(50'000));
    });
  }
  threads.clear();
  // 5 MB less the burst; it may take longer on a busy machine, but never less.
  EXPECT_GE(to_seconds(now() - start), (5.0 - 0.5) / 50 - 0.001);
}

}  // namespace
}  // namespace godwit::migration
