#include "vmm/x86/clock.h"

#include <gtest/gtest.h>

namespace godwit::vmm::x86 {
namespace {

constexpr uint32_t kKhz = 2'500'000;
constexpr uint64_t kSecond = 1'000'000'000;

ClockState at(uint64_t clock_ns, uint64_t realtime_ns, uint64_t host_tsc) {
  return {clock_ns, KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC, realtime_ns, host_tsc};
}

HostClocks wall(uint64_t realtime_ns) {
  return {.realtime_ns = realtime_ns};
}

TEST(GuestClock, WithoutAnOffsetElapsedTimeIsThatOfTheRealTimeClocks) {
  const ClockState saved = at(0, 100 * kSecond, 0);
  EXPECT_EQ(elapsed_since(saved, wall(101 * kSecond), {}), std::chrono::seconds(1));
  EXPECT_EQ(elapsed_since(saved, wall(100 * kSecond), {}), Nanoseconds{0});
}

TEST(GuestClock, RealTimeClocksThatDisagreeCountAsNoTime) {
  const ClockState saved = at(0, 100 * kSecond, 0);
  EXPECT_EQ(elapsed_since(saved, wall(99 * kSecond), {}), Nanoseconds{0});
  EXPECT_EQ(elapsed_since(saved, wall(100 * kSecond + 3600 * kSecond), {}), Nanoseconds{0});
  ClockState unknown = saved;
  unknown.flags = 0;
  EXPECT_EQ(elapsed_since(unknown, wall(101 * kSecond), {}), Nanoseconds{0});
}

TEST(GuestClock, WithAnOffsetTheWallClocksDoNotMatter) {
  ClockState saved = at(0, 100 * kSecond, 0);
  saved.monotonic_ns = 7000 * int64_t{kSecond};
  // The other host's monotonic clock is 6990 s behind, its wall clock years ahead.
  const HostClocks here{.realtime_ns = uint64_t{1} << 62, .monotonic_ns = 12 * int64_t{kSecond}};
  EXPECT_EQ(elapsed_since(saved, here, std::chrono::seconds(-6990)), std::chrono::seconds(2));
  EXPECT_EQ(elapsed_since(saved, here, std::chrono::seconds(-6000)), Nanoseconds{0});
}

TEST(GuestClock, NumbersOfALyingPeerDoNotOverflow) {
  ClockState saved = at(0, ~uint64_t{0}, 0);
  saved.monotonic_ns = INT64_MIN;
  const HostClocks here{.realtime_ns = 0, .monotonic_ns = INT64_MAX};
  EXPECT_EQ(elapsed_since(saved, here, Nanoseconds::min()), Nanoseconds{0});
  EXPECT_EQ(elapsed_since(saved, here, Nanoseconds::max()), Nanoseconds{0});
  EXPECT_EQ(elapsed_since(saved, here, {}), Nanoseconds{0});
}

TEST(GuestClock, TscGoesOnByAsMuchAsKvmclock) {
  // The guest's TSC was 1000 at a host TSC of 5000; two seconds later it must be 1000 + 2 s, on a
  // host whose TSC reads 77 then.
  const uint64_t offset_there = uint64_t{1000} - 5000;
  const ClockState there = at(10 * kSecond, 0, 5000);
  const ClockState here = at(12 * kSecond, 0, 77);
  const uint64_t offset_here = moved_tsc_offset(offset_there, there, here, kKhz);
  EXPECT_EQ(here.host_tsc + offset_here, 1000 + uint64_t{2} * kKhz * 1000);
}

TEST(GuestClock, TscGoesBackWithAKvmclockThatWasSetBack) {
  const uint64_t offset_there = uint64_t{1} << 40;
  const ClockState there = at(12 * kSecond, 0, 5000);
  const ClockState here = at(11 * kSecond, 0, 900000);
  const uint64_t offset_here = moved_tsc_offset(offset_there, there, here, kKhz);
  EXPECT_EQ(here.host_tsc + offset_here, there.host_tsc + offset_there - uint64_t{1} * kKhz * 1000);
}

TEST(GuestClock, YearsOfUptimeDoNotOverflow) {
  const uint64_t years = uint64_t{20} * 365 * 86400 * kSecond;
  const ClockState there = at(0, 0, 0);
  const ClockState here = at(years, 0, 0);
  EXPECT_EQ(moved_tsc_offset(0, there, here, kKhz), years / kSecond * kKhz * 1000);
}

TEST(GuestClock, StateSurvivesARoundTripAndUnknownFlagsAreRejected) {
  ClockState before = at(1, 2, 3);
  before.monotonic_ns = -4;
  ByteWriter out;
  encode(before, out);
  ClockState after;
  ASSERT_TRUE(decode(out.view(), after));
  EXPECT_EQ(after.clock_ns, 1u);
  EXPECT_EQ(after.realtime_ns, 2u);
  EXPECT_EQ(after.host_tsc, 3u);
  EXPECT_EQ(after.monotonic_ns, -4);
  EXPECT_EQ(after.flags, before.flags);
  for (size_t n = 0; n < out.size(); ++n) EXPECT_FALSE(decode(out.view().first(n), after));
  out.clear();
  encode({1, 0x80, 2, 3}, out);
  EXPECT_FALSE(decode(out.view(), after));
}

}  // namespace
}  // namespace godwit::vmm::x86
