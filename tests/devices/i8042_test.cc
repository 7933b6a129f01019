#include "devices/i8042.h"

#include <gtest/gtest.h>

#include "devices/port_window.h"
#include "tests/devices/state_torture.h"

namespace godwit::devices {
namespace {

constexpr uint64_t kData = kI8042DataPort, kCommand = kI8042CommandPort,
                   kControl = kSystemControlPort;
constexpr uint64_t kRegisters[] = {kData, kCommand, kControl};

struct Controller {
  FakeEvents events;
  FakeIrq irq;
  I8042 device{events, irq};
  uint8_t ask(uint8_t command) {
    out8(device, kCommand, command);
    EXPECT_EQ(in8(device, kCommand) & 0x01, 0x01) << "a reply to " << int{command};
    return in8(device, kData);
  }
  void tell(uint8_t command, uint8_t value) {
    out8(device, kCommand, command);
    out8(device, kData, value);
  }
};

class I8042Test : public testing::Test, protected Controller {};

TEST_F(I8042Test, CommandFeResetsTheMachine) {
  out8(device, kCommand, 0xfe);
  EXPECT_EQ(events.resets, 1);
  out8(device, kCommand, 0xff);  // pulses no line
  EXPECT_EQ(events.resets, 1);
  out8(device, kCommand, 0xf0);
  EXPECT_EQ(events.resets, 2);
}

TEST_F(I8042Test, OutputPortsResetLineResetsToo) {
  tell(0xd1, 0x03);
  EXPECT_EQ(events.resets, 0);
  tell(0xd1, 0x02);
  EXPECT_EQ(events.resets, 1);
}

TEST_F(I8042Test, SystemControlPortResetsAndKeepsA20) {
  EXPECT_EQ(in8(device, kControl), 0x02);
  out8(device, kControl, 0x00);
  EXPECT_EQ(in8(device, kControl), 0x00);
  EXPECT_EQ(ask(0xd0) & 0x02, 0x00) << "the same gate";
  out8(device, kControl, 0x02);
  EXPECT_EQ(events.resets, 0);
  out8(device, kControl, 0x03);
  EXPECT_EQ(events.resets, 1);
}

TEST_F(I8042Test, SelfTestsAnswerAtOnce) {
  EXPECT_EQ(in8(device, kCommand), 0x18) << "empty, not yet tested";
  EXPECT_EQ(ask(0xaa), 0x55);
  EXPECT_EQ(in8(device, kCommand) & 0x04, 0x04);
  EXPECT_EQ(ask(0xab), 0x00);
  EXPECT_NE(ask(0xa9), 0x00) << "there is no second port";
}

TEST_F(I8042Test, CommandByteIsKept) {
  tell(0x60, 0x45);
  EXPECT_EQ(ask(0x20), 0x65) << "the second port cannot be enabled";
  out8(device, kCommand, 0xad);
  EXPECT_EQ(ask(0x20), 0x75);
  out8(device, kCommand, 0xae);
  EXPECT_EQ(ask(0x20), 0x65);
  tell(0x7f, 0x99);
  EXPECT_EQ(ask(0x3f), 0x99);
}

TEST_F(I8042Test, AKeyboardCommandFailsQuickly) {
  out8(device, kData, 0xf2);
  EXPECT_EQ(in8(device, kCommand) & 0x61, 0x41) << "full, timed out, not from the second port";
  EXPECT_EQ(in8(device, kData), 0xfe);
  EXPECT_EQ(in8(device, kCommand) & 0x41, 0x00);
  tell(0xd4, 0xf2);
  EXPECT_EQ(in8(device, kCommand) & 0x61, 0x61);
}

TEST_F(I8042Test, InterruptFollowsAFullOutputBuffer) {
  out8(device, kCommand, 0xaa);
  EXPECT_FALSE(irq.level) << "not enabled";
  tell(0x60, 0x01);
  EXPECT_TRUE(irq.level);
  (void)in8(device, kData);
  EXPECT_FALSE(irq.level);
  tell(0xd2, 0x1c);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(in8(device, kData), 0x1c);
  EXPECT_FALSE(irq.level);
}

TEST_F(I8042Test, WindowsLeadToTheRightRegisters) {
  PortWindow command(device, kCommand);
  PortWindow data(device, kData);
  out8(command, 0, 0xaa);
  EXPECT_EQ(in8(data, 0), 0x55);
}

TEST(I8042State, MovesWithAReplyAndACommandPending) {
  Controller source;
  source.tell(0x60, 0x45);
  out8(source.device, kCommand, 0xaa);
  out8(source.device, kCommand, 0xd2);
  Controller target;
  ASSERT_TRUE(load_bytes(target.device, saved(source.device)));
  EXPECT_EQ(target.irq.calls, 0);
  target.device.resume();
  EXPECT_TRUE(target.irq.level);
  EXPECT_EQ(in8(target.device, kData), 0x55);
  out8(target.device, kData, 0x77);
  EXPECT_EQ(in8(target.device, kData), 0x77);
  EXPECT_EQ(target.ask(0x20), 0x65);
}

TEST(I8042State, HostileBytesAreRefusedOrHarmless) {
  Controller source;
  source.tell(0x60, 0x45);
  out8(source.device, kCommand, 0xaa);
  torture_load(saved(source.device), kRegisters, [] { return std::make_unique<Controller>(); });
}

}  // namespace
}  // namespace godwit::devices
