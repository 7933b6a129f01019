#include "devices/rtc_cmos_state.h"

namespace godwit::devices {
namespace {

// Wide enough for any four-digit year against any sane host clock, far from where sums overflow.
constexpr int64_t kMaxMicroseconds = int64_t{20'000} * 366 * 86'400 * 1'000'000;

bool too_far(int64_t us) {
  return us > kMaxMicroseconds || us < -kMaxMicroseconds;
}

}  // namespace

RtcRegisters RtcCmosState::held_time() const {
  return {.second = cmos[kCmosSecond],
          .minute = cmos[kCmosMinute],
          .hour = cmos[kCmosHour],
          .weekday = cmos[kCmosWeekday],
          .day = cmos[kCmosDay],
          .month = cmos[kCmosMonth],
          .year = cmos[kCmosYear],
          .century = cmos[kCmosCentury]};
}

void RtcCmosState::hold_time(const RtcRegisters& time) {
  cmos[kCmosSecond] = time.second;
  cmos[kCmosMinute] = time.minute;
  cmos[kCmosHour] = time.hour;
  cmos[kCmosWeekday] = time.weekday;
  cmos[kCmosDay] = time.day;
  cmos[kCmosMonth] = time.month;
  cmos[kCmosYear] = time.year;
  cmos[kCmosCentury] = time.century;
}

void encode(const RtcCmosState& s, ByteWriter& out) {
  out.u8(s.index);
  out.bytes(std::as_bytes(std::span(s.cmos)));
  out.i64(s.offset.count());
  out.i64(s.computed.count());
}

Result<RtcCmosState> decode_rtc_cmos(ByteReader& in) {
  RtcCmosState s;
  s.index = in.u8();
  const auto cmos = in.bytes(kCmosBytes);
  const int64_t offset = in.i64();
  const int64_t computed = in.i64();
  GODWIT_TRY(in.finish());
  for (size_t i = 0; i < kCmosBytes; ++i) s.cmos[i] = std::to_integer<uint8_t>(cmos[i]);
  if (too_far(offset) || too_far(computed)) {
    return make_error(Errc::kCorrupt, "rtc-cmos: times of {} and {} us are too far from 1970",
                      offset, computed);
  }
  if ((s.cmos[kCmosA] & kRtcUpdateInProgress) != 0 || (s.cmos[kCmosC] & ~kRtcFlags) != 0) {
    return make_error(Errc::kCorrupt, "rtc-cmos: registers A {:#x} and C {:#x} cannot be stored so",
                      s.cmos[kCmosA], s.cmos[kCmosC]);
  }
  s.offset = Microseconds(offset);
  s.computed = Microseconds(computed);
  return s;
}

}  // namespace godwit::devices
