#include "devices/rtc_time.h"

#include <gtest/gtest.h>

#include <random>

namespace godwit::devices {
namespace {

using std::chrono::seconds;
using namespace std::chrono_literals;

constexpr RtcFormat kBcd24{.binary = false, .hours_24 = true};
constexpr RtcFormat kBcd12{.binary = false, .hours_24 = false};
constexpr RtcFormat kBinary24{.binary = true, .hours_24 = true};
constexpr RtcFormat kBinary12{.binary = true, .hours_24 = false};

constexpr seconds at(int year, unsigned month, unsigned day, int hour, int minute, int second) {
  return std::chrono::sys_days(std::chrono::year(year) / month / day).time_since_epoch() +
         seconds(hour * 3600 + minute * 60 + second);
}

TEST(RtcTime, ShowsADateInEachFormat) {
  const seconds time = at(2026, 11, 22, 15, 4, 59);  // a Sunday
  EXPECT_EQ(to_registers(time, kBcd24),
            (RtcRegisters{0x59, 0x04, 0x15, 1, 0x22, 0x11, 0x26, 0x20}));
  EXPECT_EQ(to_registers(time, kBcd12).hour, 0x83);
  EXPECT_EQ(to_registers(time, kBinary24), (RtcRegisters{59, 4, 15, 1, 22, 11, 26, 20}));
  EXPECT_EQ(to_registers(time, kBinary12).hour, 0x83);
}

TEST(RtcTime, MidnightAndNoonInTwelveHours) {
  EXPECT_EQ(to_registers(at(2000, 1, 1, 0, 0, 0), kBcd12).hour, 0x12);
  EXPECT_EQ(to_registers(at(2000, 1, 1, 12, 0, 0), kBcd12).hour, 0x92);
  EXPECT_EQ(to_registers(at(2000, 1, 1, 11, 0, 0), kBcd12).hour, 0x11);
  EXPECT_EQ(to_registers(at(2000, 1, 1, 23, 0, 0), kBinary12).hour, 0x8b);
}

TEST(RtcTime, RoundTripsInEachFormat) {
  std::mt19937_64 random(20261122);
  for (int i = 0; i < 2000; ++i) {
    const seconds time{static_cast<int64_t>(random() % (8'000ull * 365 * 86'400))};
    for (const RtcFormat format : {kBcd24, kBcd12, kBinary24, kBinary12}) {
      ASSERT_EQ(from_registers(to_registers(time, format), format), time) << time.count();
    }
  }
  EXPECT_EQ(from_registers(to_registers(at(2024, 2, 29, 23, 59, 59), kBcd24), kBcd24),
            at(2024, 2, 29, 23, 59, 59));
}

TEST(RtcTime, AnyRegistersGiveSomeTime) {
  std::mt19937 random(7);
  for (int i = 0; i < 5000; ++i) {
    const auto byte = [&] { return static_cast<uint8_t>(random()); };
    const RtcRegisters r{byte(), byte(), byte(), byte(), byte(), byte(), byte(), byte()};
    for (const RtcFormat format : {kBcd24, kBcd12, kBinary24, kBinary12}) {
      const seconds time = from_registers(r, format);
      EXPECT_GE(time, at(0, 1, 1, 0, 0, 0));
      EXPECT_LE(time, at(9999, 12, 31, 23, 59, 59));
      EXPECT_EQ(from_registers(to_registers(time, format), format), time);
    }
  }
  EXPECT_EQ(from_registers({0x99, 0x99, 0x99, 0, 0x31, 0x02, 0x25, 0x20}, kBcd24),
            at(2025, 2, 28, 23, 59, 59));
}

TEST(RtcTime, AlarmComesAtTheNextMatch) {
  const seconds now = at(2026, 11, 22, 10, 20, 30);
  const auto next = [&](uint8_t h, uint8_t m, uint8_t s) {
    return *next_alarm(now, {.second = s, .minute = m, .hour = h}, kBcd24);
  };
  EXPECT_EQ(next(0x10, 0x20, 0x31), now + 1s);
  EXPECT_EQ(next(0x10, 0x20, 0x30), now + 24h) << "not this very second";
  EXPECT_EQ(next(0x09, 0x00, 0x00), at(2026, 11, 23, 9, 0, 0));
  EXPECT_EQ(next(0xff, 0xff, 0xff), now + 1s);
  EXPECT_EQ(next(0xff, 0xff, 0x30), now + 1min);
  EXPECT_EQ(next(0xff, 0x20, 0x30), now + 1h);
  EXPECT_EQ(next(0xff, 0x05, 0x00), at(2026, 11, 22, 11, 5, 0));
  EXPECT_EQ(next(0xc0, 0xc0, 0x00), at(2026, 11, 22, 10, 21, 0));
  EXPECT_EQ(next(0x12, 0xff, 0xff), at(2026, 11, 22, 12, 0, 0));
}

TEST(RtcTime, AlarmAgreesWithLookingAtEachSecond) {
  std::mt19937 random(99);
  for (int i = 0; i < 60; ++i) {
    const seconds now = at(2026, 3, 1, 0, 0, 0) + seconds(random() % 86'400);
    const auto pick = [&](unsigned most) {
      return static_cast<uint8_t>(random() % 3 == 0 ? 0xff : random() % most);
    };
    const RtcAlarm alarm{.second = pick(60), .minute = pick(60), .hour = pick(24)};
    seconds expected = now + 1s;
    const auto matches = [](uint8_t wanted, uint8_t is) { return wanted == 0xff || wanted == is; };
    while (true) {
      const RtcRegisters r = to_registers(expected, kBinary24);
      if (matches(alarm.second, r.second) && matches(alarm.minute, r.minute) &&
          matches(alarm.hour, r.hour)) {
        break;
      }
      expected += 1s;
    }
    EXPECT_EQ(*next_alarm(now, alarm, kBinary24), expected);
  }
}

TEST(RtcTime, AlarmOfNoTimeNeverComes) {
  const seconds now = at(2026, 1, 1, 0, 0, 0);
  EXPECT_FALSE(next_alarm(now, {.second = 0x60, .minute = 0xff, .hour = 0xff}, kBcd24));
  EXPECT_FALSE(next_alarm(now, {.second = 0xff, .minute = 0x75, .hour = 0xff}, kBcd24));
  EXPECT_FALSE(next_alarm(now, {.second = 0xff, .minute = 0xff, .hour = 0x24}, kBcd24));
  EXPECT_FALSE(next_alarm(now, {.second = 0xff, .minute = 0xff, .hour = 0x00}, kBcd12));
}

}  // namespace
}  // namespace godwit::devices
