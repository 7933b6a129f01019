#include "devices/rtc_cmos.h"

#include <gtest/gtest.h>

#include "tests/devices/state_torture.h"

namespace godwit::devices {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_days;

constexpr RtcConfig kConfig{.memory_under_4g = 3_GiB, .memory_over_4g = 5_GiB, .vcpus = 4};
// Sunday, 2026-11-22 10:20:30.25
constexpr Microseconds kStart =
    sys_days(std::chrono::year(2026) / 11 / 22).time_since_epoch() + 10h + 20min + 30s + 250ms;

struct Rtc {
  FakeTimer timer{kStart};
  FakeIrq irq;
  RtcCmos device{kConfig, timer, irq};
  uint8_t get(uint8_t index) {
    out8(device, 0, index);
    return in8(device, 1);
  }
  void set(uint8_t index, uint8_t value) {
    out8(device, 0, index);
    out8(device, 1, value);
  }
};

class RtcCmosTest : public testing::Test, protected Rtc {
 protected:
  RtcCmosTest() { device.resume(); }
};

TEST_F(RtcCmosTest, ShowsTheHostsTime) {
  EXPECT_EQ(get(kCmosSecond), 0x30);
  EXPECT_EQ(get(kCmosMinute), 0x20);
  EXPECT_EQ(get(kCmosHour), 0x10);
  EXPECT_EQ(get(kCmosWeekday), 1);
  EXPECT_EQ(get(kCmosDay), 0x22);
  EXPECT_EQ(get(kCmosMonth), 0x11);
  EXPECT_EQ(get(kCmosYear), 0x26);
  EXPECT_EQ(get(kCmosCentury), 0x20);
  EXPECT_EQ(get(kCmosB), 0x02);
  EXPECT_EQ(get(kCmosD), 0x80);
  timer.advance(750ms);
  EXPECT_EQ(get(kCmosSecond), 0x31);
}

TEST_F(RtcCmosTest, FormatsFollowRegisterB) {
  set(kCmosB, 0x06);
  EXPECT_EQ(get(kCmosSecond), 30);
  set(kCmosB, 0x00);
  timer.advance(4h);
  EXPECT_EQ(get(kCmosHour), 0x82);
}

TEST_F(RtcCmosTest, CmosTellsTheMemorySizes) {
  const auto word = [this](uint8_t index) { return get(index) | get(index + 1) << 8; };
  EXPECT_EQ(word(0x15), 640);
  EXPECT_EQ(word(0x17), 0xffff);
  EXPECT_EQ(word(0x30), 0xffff);
  EXPECT_EQ(word(0x34), (3 * 1024 - 16) * 16);
  EXPECT_EQ(word(0x5b) | get(0x5d) << 16, 5 * 1024 * 16);
  EXPECT_EQ(get(0x5f), 3);
  unsigned sum = 0;
  for (uint8_t i = 0x10; i < 0x2e; ++i) sum += get(i);
  EXPECT_EQ(get(0x2e) << 8 | get(0x2f), static_cast<int>(sum));
}

TEST_F(RtcCmosTest, CmosIsMemoryAndTheIndexIsWriteOnly) {
  set(0x50, 0xab);
  EXPECT_EQ(get(0x50), 0xab);
  EXPECT_EQ(get(0xd0), 0xab) << "bit 7 of the index is no address";
  EXPECT_EQ(in8(device, 0), 0xff);
  set(kCmosD, 0x00);
  EXPECT_EQ(get(kCmosD), 0x80);
}

TEST_F(RtcCmosTest, UpdateInProgressShowsJustBeforeEachSecond) {
  EXPECT_EQ(get(kCmosA), 0x26);
  timer.advance(749'755us);
  EXPECT_EQ(get(kCmosA), 0x26);
  timer.advance(1us);
  EXPECT_EQ(get(kCmosA), 0xa6);
  timer.advance(244us);
  EXPECT_EQ(get(kCmosA), 0x26);
  EXPECT_EQ(get(kCmosSecond), 0x31);
}

TEST_F(RtcCmosTest, TimeIsSetWhileStoppedAndGoesOnFromThere) {
  set(kCmosB, 0x82);
  set(kCmosSecond, 0x59);
  set(kCmosMinute, 0x59);
  set(kCmosHour, 0x23);
  set(kCmosDay, 0x31);
  set(kCmosMonth, 0x12);
  set(kCmosYear, 0x99);
  set(kCmosCentury, 0x19);
  timer.advance(10s);
  EXPECT_EQ(get(kCmosSecond), 0x59) << "stopped";
  EXPECT_EQ(get(kCmosA) & 0x80, 0);
  set(kCmosB, 0x02);
  EXPECT_EQ(get(kCmosSecond), 0x59);
  timer.advance(750ms);
  EXPECT_EQ(get(kCmosSecond), 0x00);
  EXPECT_EQ(get(kCmosYear), 0x00);
  EXPECT_EQ(get(kCmosCentury), 0x20);
  EXPECT_EQ(get(kCmosWeekday), 7);
}

TEST_F(RtcCmosTest, TimeWrittenWhileRunningCountsAtOnce) {
  set(kCmosHour, 0x05);
  EXPECT_EQ(get(kCmosHour), 0x05);
  EXPECT_EQ(get(kCmosMinute), 0x20);
  timer.advance(1h);
  EXPECT_EQ(get(kCmosHour), 0x06);
}

TEST_F(RtcCmosTest, TheFirstSecondAfterADividerResetIsHalfASecondLong) {
  set(kCmosA, 0x76);
  timer.advance(5s);
  EXPECT_EQ(get(kCmosSecond), 0x30);
  set(kCmosA, 0x26);
  timer.advance(499'999us);
  EXPECT_EQ(get(kCmosSecond), 0x30);
  timer.advance(1us);
  EXPECT_EQ(get(kCmosSecond), 0x31);
}

TEST_F(RtcCmosTest, FlagsAreSetWithoutInterruptsAndClearWhenRead) {
  (void)get(kCmosC);
  EXPECT_EQ(get(kCmosC), 0x00);
  timer.advance(1s);
  EXPECT_EQ(get(kCmosC), 0x50) << "update and periodic";
  EXPECT_EQ(get(kCmosC), 0x00);
  EXPECT_EQ(irq.calls, 0);
  EXPECT_EQ(timer.arms, 0) << "nobody waits: no timer";
}

TEST_F(RtcCmosTest, UpdateInterruptComesEachSecondThatIsAcknowledged) {
  set(kCmosA, 0x20);
  set(kCmosB, 0x12);
  timer.advance(749'999us);
  EXPECT_FALSE(irq.level);
  timer.advance(1us);
  EXPECT_TRUE(irq.level);
  timer.advance(10s);
  EXPECT_EQ(irq.edges, 1) << "not acknowledged";
  EXPECT_EQ(get(kCmosC), 0x90);
  EXPECT_FALSE(irq.level);
  timer.advance(1s);
  EXPECT_EQ(irq.edges, 2);
}

TEST_F(RtcCmosTest, AlarmInterruptComesAtItsTime) {
  set(kCmosA, 0x20);
  set(kCmosHourAlarm, 0x10);
  set(kCmosMinuteAlarm, 0x21);
  set(kCmosSecondAlarm, 0x00);
  set(kCmosB, 0x22);
  timer.advance(29'749'999us);
  EXPECT_FALSE(irq.level);
  timer.advance(1us);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(get(kCmosC) & 0xa0, 0xa0);
  timer.advance(1h);
  EXPECT_FALSE(irq.level) << "once a day";
  timer.advance(23h);
  EXPECT_TRUE(irq.level);
}

TEST_F(RtcCmosTest, PeriodicInterruptHasItsRate) {
  set(kCmosA, 0x26);  // 1024 Hz
  set(kCmosB, 0x42);
  int seen = 0;
  for (int i = 0; i < 1'000'000; i += 100) {
    timer.advance(100us);
    if (!irq.level) continue;
    EXPECT_EQ(get(kCmosC) & 0xc0, 0xc0);
    ++seen;
  }
  EXPECT_EQ(seen, 1024);
}

TEST_F(RtcCmosTest, EnablingAnInterruptWhoseFlagIsSetRaisesIt) {
  timer.advance(1s);
  set(kCmosB, 0x12);
  EXPECT_TRUE(irq.level);
  set(kCmosB, 0x02);
  EXPECT_FALSE(irq.level);
}

TEST_F(RtcCmosTest, SettingTheClockDisablesTheUpdateInterrupt) {
  set(kCmosB, 0x12);
  set(kCmosB, 0x92);
  EXPECT_EQ(get(kCmosB), 0x82);
}

TEST_F(RtcCmosTest, NothingHappensWhileQuiescedAndIsMadeUpForAfterwards) {
  set(kCmosB, 0x12);
  (void)get(kCmosC);
  device.quiesce();
  const auto before = saved(device);
  timer.advance(5s);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(saved(device), before);
  device.resume();
  EXPECT_TRUE(irq.level);
}

TEST_F(RtcCmosTest, AHostClockThatIsSetBackIsHarmless) {
  set(kCmosB, 0x12);
  timer.time -= 1h;
  EXPECT_EQ(get(kCmosHour), 0x09);
  (void)get(kCmosC);
  timer.advance(1s);
  EXPECT_TRUE(irq.level);
}

constexpr uint64_t kRegisters[] = {0, 1};

TEST(RtcCmosState, MovesWithItsOffsetAndTheInterruptDueInBetween) {
  Rtc source;
  source.device.resume();
  source.set(kCmosHour, 0x01);  // nine hours behind the host
  source.set(0x40, 0x99);
  source.set(kCmosA, 0x20);
  source.set(kCmosB, 0x12);
  source.device.quiesce();

  Rtc target;
  target.timer.time = kStart + 2s;
  ASSERT_TRUE(load_bytes(target.device, saved(source.device)));
  EXPECT_EQ(target.irq.calls, 0);
  EXPECT_EQ(target.timer.arms, 0);
  EXPECT_EQ(saved(target.device), saved(source.device));
  target.device.resume();
  EXPECT_TRUE(target.irq.level) << "a second began during the move";
  EXPECT_EQ(target.get(kCmosC), 0x90);
  EXPECT_EQ(target.get(kCmosHour), 0x01);
  EXPECT_EQ(target.get(kCmosSecond), 0x32);
  EXPECT_EQ(target.get(0x40), 0x99);
  target.timer.advance(1s);
  EXPECT_EQ(target.irq.edges, 2) << "the timer runs at the target";
}

TEST(RtcCmosState, AStoppedClockMovesStopped) {
  Rtc source;
  source.device.resume();
  source.set(kCmosB, 0x82);
  source.set(kCmosMinute, 0x07);
  source.device.quiesce();
  Rtc target;
  ASSERT_TRUE(load_bytes(target.device, saved(source.device)));
  target.device.resume();
  target.timer.advance(1h);
  EXPECT_EQ(target.get(kCmosMinute), 0x07);
  target.set(kCmosB, 0x02);
  EXPECT_EQ(target.get(kCmosMinute), 0x07);
}

TEST(RtcCmosState, HostileBytesAreRefusedOrHarmless) {
  Rtc source;
  source.device.resume();
  source.set(kCmosB, 0x72);
  source.set(kCmosHour, 0x01);
  source.device.quiesce();
  torture_load(saved(source.device), kRegisters, [] { return std::make_unique<Rtc>(); });
}

TEST(RtcCmosState, LayoutIsTheDocumentedOne) {
  RtcCmosState state;
  state.index = 0x8f;
  state.cmos[0] = 0x11;
  state.cmos[127] = 0x22;
  state.offset = Microseconds(-1);
  state.computed = Microseconds(0x0102030405);
  ByteWriter out;
  encode(state, out);
  ASSERT_EQ(out.size(), 1u + 128 + 8 + 8);
  const auto at = [&](size_t i) { return std::to_integer<uint8_t>(out.view()[i]); };
  EXPECT_EQ(at(0), 0x8f);
  EXPECT_EQ(at(1), 0x11);
  EXPECT_EQ(at(128), 0x22);
  EXPECT_EQ(at(129), 0xff);
  EXPECT_EQ(at(136), 0xff);
  EXPECT_EQ(at(137), 0x05);
  EXPECT_EQ(at(141), 0x01);
}

}  // namespace
}  // namespace godwit::devices
