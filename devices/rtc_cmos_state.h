// The complete state of the RTC and its bytes (section "rtc-cmos", version 1):
//
//   u8 index | u8[128] CMOS | i64 offset (us) | i64 computed up to (us)
//
// CMOS holds what the guest stored. While the clock runs its time bytes (0, 2, 4, 6..9, 0x32) mean
// nothing: the time is the host's wall clock plus the offset. While it is stopped they are the
// time.
#pragma once
#include <array>
#include <cstdint>

#include "devices/rtc_time.h"
#include "devices/wall_timer.h"
#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"

namespace godwit::devices {

inline constexpr size_t kCmosBytes = 128;

// Indices of CMOS (MC146818 datasheet "Address Map"; above 0x0d the PC's conventions).
enum CmosIndex : uint8_t {
  kCmosSecond = 0x00,
  kCmosSecondAlarm = 0x01,
  kCmosMinute = 0x02,
  kCmosMinuteAlarm = 0x03,
  kCmosHour = 0x04,
  kCmosHourAlarm = 0x05,
  kCmosWeekday = 0x06,
  kCmosDay = 0x07,
  kCmosMonth = 0x08,
  kCmosYear = 0x09,
  kCmosA = 0x0a,
  kCmosB = 0x0b,
  kCmosC = 0x0c,
  kCmosD = 0x0d,
  kCmosEquipment = 0x14,
  kCmosBaseMemory = 0x15,       // 2 bytes, KiB
  kCmosExtendedMemory = 0x17,   // 2 bytes, KiB over 1 MiB
  kCmosChecksum = 0x2e,         // of 0x10..0x2d, high byte first
  kCmosExtendedMemory2 = 0x30,  // 2 bytes, as 0x17
  kCmosCentury = 0x32,
  kCmosMemoryOver16M = 0x34,  // 2 bytes, 64 KiB units up to the hole
  kCmosMemoryOver4G = 0x5b,   // 3 bytes, 64 KiB units
  kCmosVcpus = 0x5f,          // number of vCPUs - 1
};

// Register A ("Register A"): divider and rate. Register B: modes and enables. Register C: flags.
inline constexpr uint8_t kRtcUpdateInProgress = 0x80;
inline constexpr uint8_t kRtcRateMask = 0x0f;
inline constexpr uint8_t kRtcSet = 0x80;
inline constexpr uint8_t kRtcBinary = 0x04;
inline constexpr uint8_t kRtc24Hours = 0x02;
inline constexpr uint8_t kRtcIrq = 0x80;
inline constexpr uint8_t kRtcPeriodic = 0x40;  // the same bit in B (enable) and C (flag)
inline constexpr uint8_t kRtcAlarm = 0x20;
inline constexpr uint8_t kRtcUpdate = 0x10;
inline constexpr uint8_t kRtcFlags = kRtcPeriodic | kRtcAlarm | kRtcUpdate;

struct RtcCmosState {
  uint8_t index = 0;                       // guest-controlled; bit 7 would mask NMI
  std::array<uint8_t, kCmosBytes> cmos{};  // guest-controlled
  Microseconds offset{};                   // guest-controlled; RTC time minus host wall clock
  Microseconds computed{};                 // RTC time up to which register C's flags are right

  [[nodiscard]] RtcFormat format() const {
    return {(cmos[kCmosB] & kRtcBinary) != 0, (cmos[kCmosB] & kRtc24Hours) != 0};
  }
  // "Register A", DV bits 11x: the divider is held in reset.
  [[nodiscard]] bool divider_reset() const { return (cmos[kCmosA] & 0x60) == 0x60; }
  // No update cycles take place.
  [[nodiscard]] bool stopped() const { return (cmos[kCmosB] & kRtcSet) != 0 || divider_reset(); }
  [[nodiscard]] RtcRegisters held_time() const;
  void hold_time(const RtcRegisters& time);
};

void encode(const RtcCmosState& state, ByteWriter& out);
// Errors: kCorrupt.
Result<RtcCmosState> decode_rtc_cmos(ByteReader& in);

}  // namespace godwit::devices
