#include "devices/acpi_pm.h"

#include <gtest/gtest.h>

#include "tests/devices/state_torture.h"

namespace godwit::devices {
namespace {

struct Pm {
  FakeEvents events;
  FakeIrq sci;
  AcpiPm device{events, sci};
};

class AcpiPmTest : public testing::Test, protected Pm {};

TEST_F(AcpiPmTest, TheWellKnownWritePowersOff) {
  out16(device, 0x604 - kAcpiPort, 0x2000);
  EXPECT_EQ(events.power_offs, 1);
}

TEST_F(AcpiPmTest, TheTablesSleepTypePowersOff) {
  const auto type = static_cast<uint16_t>(kSleepTypeS5 << kPm1SleepTypeShift);
  out16(device, kPm1ControlOffset, type);
  EXPECT_EQ(events.power_offs, 0) << "without SLP_EN";
  EXPECT_EQ(in16(device, kPm1ControlOffset), type | kPm1SciEnable);
  out16(device, kPm1ControlOffset, type | kPm1SleepEnable);
  EXPECT_EQ(events.power_offs, 1);
  EXPECT_EQ(in16(device, kPm1ControlOffset), type | kPm1SciEnable) << "SLP_EN reads as zero";
}

TEST_F(AcpiPmTest, OtherSleepTypesDoNothing) {
  for (uint16_t type = 0; type < 8; ++type) {
    if (type == kSleepTypeS5 || type == kSleepTypeS5Legacy) continue;
    out16(device, kPm1ControlOffset,
          static_cast<uint16_t>(type << kPm1SleepTypeShift | kPm1SleepEnable));
  }
  EXPECT_EQ(events.power_offs, 0);
}

TEST_F(AcpiPmTest, SleepControlRegisterPowersOff) {
  out8(device, kSleepControlOffset, kSleepTypeS5 << kSleepTypeShift);
  EXPECT_EQ(events.power_offs, 0);
  EXPECT_EQ(in8(device, kSleepControlOffset), kSleepTypeS5 << kSleepTypeShift);
  out8(device, kSleepControlOffset, 0x20);
  EXPECT_EQ(events.power_offs, 0) << "type 0 is not the tables'";
  out8(device, kSleepControlOffset, kSleepTypeS5 << kSleepTypeShift | kSleepEnable);
  EXPECT_EQ(events.power_offs, 1);
  EXPECT_EQ(in8(device, kSleepStatusOffset), 0);
}

TEST_F(AcpiPmTest, ResetRegisterResets) {
  out8(device, kResetOffset, 0);
  EXPECT_EQ(events.resets, 0);
  out8(device, kResetOffset, kResetValue);
  EXPECT_EQ(events.resets, 1);
}

TEST_F(AcpiPmTest, AGuestThatDoesNotListenToTheButtonNeverHearsOfIt) {
  EXPECT_FALSE(device.press_power_button());
  out16(device, kPm1EnableOffset, kPm1Rtc | kPm1GlobalLock);
  EXPECT_FALSE(device.press_power_button());
  EXPECT_EQ(in16(device, kPm1StatusOffset), 0);
  out16(device, kPm1EnableOffset, kPm1PowerButton);
  EXPECT_FALSE(sci.level);
}

TEST_F(AcpiPmTest, PowerButtonRaisesTheSciUntilItIsAcknowledged) {
  out16(device, kPm1EnableOffset, 0xffff);
  EXPECT_EQ(in16(device, kPm1EnableOffset), kPm1Enables);
  EXPECT_TRUE(device.press_power_button());
  EXPECT_EQ(in16(device, kPm1StatusOffset), kPm1PowerButton);
  EXPECT_TRUE(sci.level);
  out16(device, kPm1EnableOffset, 0);
  EXPECT_FALSE(sci.level);
  out16(device, kPm1EnableOffset, kPm1PowerButton);
  EXPECT_TRUE(sci.level);
  out16(device, kPm1StatusOffset, 0);
  EXPECT_TRUE(sci.level) << "writing zeroes clears nothing";
  out16(device, kPm1StatusOffset, kPm1PowerButton);
  EXPECT_FALSE(sci.level);
  EXPECT_EQ(in16(device, kPm1StatusOffset), 0);
}

// ACPICA reads back what it enabled and complains of hardware that did not take it.
TEST_F(AcpiPmTest, EventsThatNeverHappenCanBeEnabledBitByBit) {
  for (const uint16_t bit : {kPm1GlobalLock, kPm1PowerButton, kPm1Rtc}) {
    out16(device, kPm1EnableOffset, bit);
    EXPECT_EQ(in16(device, kPm1EnableOffset), bit);
  }
  out8(device, kPm1EnableOffset, kPm1GlobalLock);
  EXPECT_EQ(in16(device, kPm1EnableOffset), kPm1Rtc | kPm1GlobalLock);
  EXPECT_FALSE(sci.level);
}

TEST(AcpiPmState, VersionOneHadOnlyTheButtonsEnableBit) {
  Pm source;
  out16(source.device, kPm1EnableOffset, kPm1PowerButton);
  Pm target;
  const auto button = saved(source.device);
  ByteReader old(button, "acpi-pm");
  EXPECT_TRUE(target.device.load(old, 1));
  out16(source.device, kPm1EnableOffset, kPm1Rtc);
  const auto rtc = saved(source.device);
  ByteReader impossible(rtc, "acpi-pm");
  EXPECT_FALSE(target.device.load(impossible, 1));
}

TEST(AcpiPmState, MovesWithAPressedButton) {
  Pm source;
  out16(source.device, kPm1EnableOffset, kPm1PowerButton);
  out8(source.device, kSleepControlOffset, 0x0c);
  source.device.press_power_button();
  Pm target;
  ASSERT_TRUE(load_bytes(target.device, saved(source.device)));
  EXPECT_EQ(target.sci.calls, 0);
  target.device.resume();
  EXPECT_TRUE(target.sci.level);
  EXPECT_EQ(in8(target.device, kSleepControlOffset), 0x0c);
  out16(target.device, kPm1StatusOffset, kPm1PowerButton);
  EXPECT_FALSE(target.sci.level);
}

TEST(AcpiPmState, HostileBytesAreRefusedOrHarmless) {
  constexpr uint64_t kRegisters[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Pm source;
  out16(source.device, kPm1EnableOffset, kPm1PowerButton);
  source.device.press_power_button();
  torture_load(saved(source.device), kRegisters, [] { return std::make_unique<Pm>(); });
}

}  // namespace
}  // namespace godwit::devices
