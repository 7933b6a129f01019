// The MC146818's formats of time: pure functions between its registers and seconds since 1970.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>

namespace godwit::devices {

// How registers hold numbers (register B: DM and 24/12).
struct RtcFormat {
  bool binary = false;    // else BCD
  bool hours_24 = false;  // else 1..12 with bit 7 for PM
};

// The time registers as a guest sees them. All guest-controlled.
struct RtcRegisters {
  uint8_t second = 0;
  uint8_t minute = 0;
  uint8_t hour = 0;
  uint8_t weekday = 1;  // 1 is Sunday
  uint8_t day = 1;
  uint8_t month = 1;
  uint8_t year = 0;
  uint8_t century = 0;
  auto operator<=>(const RtcRegisters&) const = default;
};

// `time` may lie up to 20,000 years on either side of 1970; of the year the last four digits show.
RtcRegisters to_registers(std::chrono::seconds time, RtcFormat format);
// Never fails: a field that is no number of its kind counts as the nearest one that is. The day of
// the week follows from the date, whatever its register says.
std::chrono::seconds from_registers(const RtcRegisters& registers, RtcFormat format);

// The three alarm registers. All guest-controlled.
struct RtcAlarm {
  uint8_t second = 0;
  uint8_t minute = 0;
  uint8_t hour = 0;
};
// The first second after `time` that matches; nothing when no time of day does. A register with
// its two upper bits set matches anything (datasheet: "don't care" code).
std::optional<std::chrono::seconds> next_alarm(std::chrono::seconds time, const RtcAlarm& alarm,
                                               RtcFormat format);

}  // namespace godwit::devices
