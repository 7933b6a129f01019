#include "migration/engine/clock_sync.h"

#include <gtest/gtest.h>

#include <random>

namespace godwit::migration {
namespace {

TimePoint at_ns(int64_t ns) {
  return TimePoint(Nanoseconds(ns));
}

TEST(ClockSync, OffsetIsWithinItsStatedError) {
  std::mt19937 random(5);
  for (const int64_t truth : {0L, 1'000'000'000L, -5'000'000'000'000L}) {
    ClockSync sync;
    int64_t t = 10'000'000'000;
    for (int i = 0; i < 16; ++i) {
      const int64_t out = 20'000 + random() % 200'000;
      const int64_t back = 20'000 + random() % 200'000;
      const uint32_t seq = sync.ping_sent(at_ns(t));
      sync.pong_received(seq, t + out + truth, at_ns(t + out + back));
      t += 1'000'000;
    }
    EXPECT_LE(std::abs(sync.offset().count() - truth), sync.error().count());
    EXPECT_EQ(to_wire(sync.to_local(truth)), truth - sync.offset().count());
  }
}

TEST(ClockSync, KeepsTheShortestTripAndForgetsIt) {
  ClockSync sync;
  sync.pong_received(sync.ping_sent(at_ns(0)), 100, at_ns(10));
  EXPECT_EQ(sync.error().count(), 5);
  sync.pong_received(sync.ping_sent(at_ns(100)), 900, at_ns(1100));
  EXPECT_EQ(sync.error().count(), 5);
  const int64_t late = 3'000'000'000;
  sync.pong_received(sync.ping_sent(at_ns(late)), late, at_ns(late + 1000));
  EXPECT_EQ(sync.error().count(), 500);
}

TEST(ClockSync, RoundTripIsNotMovedByASinglePingThatMetABusyHost) {
  ClockSync sync;
  int64_t t = 0;
  for (const int64_t trip : {100, 110, 90, 40'000'000, 105}) {
    sync.pong_received(sync.ping_sent(at_ns(t)), t, at_ns(t + trip));
    t += 1'000'000'000;
  }
  EXPECT_EQ(sync.round_trip().count(), 105);
}

TEST(ClockSync, APongThatIsDueIsLookedForWithinAnEighthOfTheTrip) {
  constexpr Nanoseconds kOtherwise = std::chrono::milliseconds(100);
  ClockSync sync;
  EXPECT_EQ(sync.look_again_after(kOtherwise), kOtherwise);
  uint32_t seq = sync.ping_sent(at_ns(0));
  EXPECT_EQ(sync.look_again_after(kOtherwise), kOtherwise) << "no trip is known yet";
  sync.pong_received(seq, 0, at_ns(8'000'000));
  EXPECT_EQ(sync.look_again_after(kOtherwise), kOtherwise) << "no pong is due";
  seq = sync.ping_sent(at_ns(100'000'000));
  EXPECT_EQ(sync.look_again_after(kOtherwise), std::chrono::milliseconds(1));
  EXPECT_EQ(sync.look_again_after(std::chrono::microseconds(300)), std::chrono::microseconds(300));
  sync.pong_received(seq, 0, at_ns(100'000'000 + 40'000));
  sync.ping_sent(at_ns(200'000'000));
  EXPECT_EQ(sync.look_again_after(kOtherwise), ClockSync::kShortestLook);
}

TEST(ClockSync, IgnoresWhatItDidNotAskFor) {
  ClockSync sync;
  sync.pong_received(1, 5, at_ns(10));
  EXPECT_FALSE(sync.measured());
  const uint32_t seq = sync.ping_sent(at_ns(20));
  sync.pong_received(seq + 1, 5, at_ns(30));
  EXPECT_FALSE(sync.measured());
  EXPECT_TRUE(sync.waiting());
}

TEST(ClockSync, SurvivesReadingsThatCannotBe) {
  ClockSync sync;
  for (const int64_t t : {INT64_MAX, INT64_MIN, int64_t{-1}}) {
    sync.pong_received(sync.ping_sent(at_ns(0)), t, at_ns(10));
    (void)sync.to_local(INT64_MAX);
    (void)sync.to_local(INT64_MIN);
  }
}

}  // namespace
}  // namespace godwit::migration
