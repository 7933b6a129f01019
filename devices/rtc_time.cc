#include "devices/rtc_time.h"

#include <algorithm>

namespace godwit::devices {
namespace {

using std::chrono::seconds;
constexpr uint8_t kPm = 0x80;
constexpr uint8_t kDontCare = 0xc0;

uint8_t encode(unsigned value, RtcFormat format) {
  return static_cast<uint8_t>(format.binary ? value : (value / 10 << 4) | value % 10);
}

// 0..255 for anything.
unsigned decode(uint8_t value, RtcFormat format) {
  return format.binary ? value : (value >> 4) * 10u + (value & 0x0f);
}

uint8_t encode_hour(unsigned hour, RtcFormat format) {
  if (format.hours_24) return encode(hour, format);
  const unsigned half = hour % 12 == 0 ? 12 : hour % 12;
  return static_cast<uint8_t>(encode(half, format) | (hour >= 12 ? kPm : 0));
}

// Over 23 for what is no hour.
unsigned decode_hour(uint8_t value, RtcFormat format) {
  if (format.hours_24) return decode(value, format);
  const unsigned half = decode(value & ~kPm, format);
  if (half < 1 || half > 12) return 24;
  return half % 12 + ((value & kPm) != 0 ? 12 : 0);
}

// What one alarm register matches: first..last, or nothing when first is greater.
struct Range {
  unsigned first;
  unsigned last;
};
Range alarm_range(uint8_t raw, unsigned value, unsigned maximum) {
  if ((raw & kDontCare) == kDontCare) return {0, maximum};
  if (value > maximum) return {1, 0};
  return {value, value};
}

// The first of the day at or after `from` (seconds into the day).
std::optional<unsigned> match_in_day(unsigned from, Range hours, Range minutes, Range secs) {
  for (unsigned h = std::max(hours.first, from / 3600); h <= hours.last; ++h) {
    const unsigned in_hour = h == from / 3600 ? from % 3600 : 0;
    for (unsigned m = std::max(minutes.first, in_hour / 60); m <= minutes.last; ++m) {
      const unsigned in_minute = m == in_hour / 60 ? in_hour % 60 : 0;
      const unsigned s = std::max(secs.first, in_minute);
      if (s <= secs.last) return h * 3600 + m * 60 + s;
    }
  }
  return std::nullopt;
}

}  // namespace

RtcRegisters to_registers(seconds time, RtcFormat format) {
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::sys_days date(days);
  const std::chrono::year_month_day ymd(date);
  const auto of_day = static_cast<unsigned>((time - days).count());
  const int year = ((static_cast<int>(ymd.year()) % 10'000) + 10'000) % 10'000;
  RtcRegisters r;
  r.second = encode(of_day % 60, format);
  r.minute = encode(of_day / 60 % 60, format);
  r.hour = encode_hour(of_day / 3600, format);
  r.weekday = static_cast<uint8_t>(std::chrono::weekday(date).c_encoding() + 1);
  r.day = encode(static_cast<unsigned>(ymd.day()), format);
  r.month = encode(static_cast<unsigned>(ymd.month()), format);
  r.year = encode(static_cast<unsigned>(year % 100), format);
  r.century = encode(static_cast<unsigned>(year / 100), format);
  return r;
}

seconds from_registers(const RtcRegisters& r, RtcFormat format) {
  const auto field = [format](uint8_t raw, unsigned low, unsigned high) {
    return std::clamp(decode(raw, format), low, high);
  };
  const unsigned year = field(r.century, 0, 99) * 100 + field(r.year, 0, 99);
  const std::chrono::year_month first(std::chrono::year(static_cast<int>(year)),
                                      std::chrono::month(field(r.month, 1, 12)));
  const auto last = (first / std::chrono::last).day();
  const std::chrono::day day(field(r.day, 1, static_cast<unsigned>(last)));
  const auto date = std::chrono::sys_days(first / day).time_since_epoch();
  const unsigned hour = std::min(decode_hour(r.hour, format), 23u);
  return date + seconds(hour * 3600 + field(r.minute, 0, 59) * 60 + field(r.second, 0, 59));
}

std::optional<seconds> next_alarm(seconds time, const RtcAlarm& alarm, RtcFormat format) {
  const Range hours = alarm_range(alarm.hour, decode_hour(alarm.hour, format), 23);
  const Range minutes = alarm_range(alarm.minute, decode(alarm.minute, format), 59);
  const Range secs = alarm_range(alarm.second, decode(alarm.second, format), 59);
  const seconds start = time + seconds(1);
  const auto day = std::chrono::floor<std::chrono::days>(start);
  const auto from = static_cast<unsigned>((start - day).count());
  if (const auto today = match_in_day(from, hours, minutes, secs)) return day + seconds(*today);
  if (const auto next = match_in_day(0, hours, minutes, secs)) {
    return day + std::chrono::days(1) + seconds(*next);
  }
  return std::nullopt;
}

}  // namespace godwit::devices
