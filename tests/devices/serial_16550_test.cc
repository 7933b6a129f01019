#include "devices/serial_16550.h"

#include <gtest/gtest.h>

#include "tests/devices/fakes.h"

namespace godwit::devices {
namespace {

constexpr uint64_t kThr = 0, kRbr = 0, kDll = 0, kIer = 1, kDlm = 1, kIir = 2, kFcr = 2, kLcr = 3,
                   kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7;

class Serial16550Test : public testing::Test {
 protected:
  Serial16550Test() { device.resume(); }
  void send(std::string_view text) {
    for (const char c : text) out8(device, kThr, static_cast<uint8_t>(c));
  }
  std::string receive_all() {
    std::string text;
    while ((in8(device, kLsr) & 1) != 0) text.push_back(static_cast<char>(in8(device, kRbr)));
    return text;
  }
  uint8_t interrupt_id() { return in8(device, kIir) & 0x0f; }

  FakeConsole console;
  FakeIrq irq;
  Serial16550 device{console, irq};
};

TEST_F(Serial16550Test, AfterResetTheTransmitterIsIdleAndNothingInterrupts) {
  EXPECT_EQ(in8(device, kLsr), 0x60);
  EXPECT_EQ(in8(device, kIir), 0x01);
  EXPECT_EQ(in8(device, kIer), 0x00);
  EXPECT_EQ(in8(device, kMsr), 0xb0);
  EXPECT_EQ(irq.calls, 0);
}

TEST_F(Serial16550Test, BytesWrittenGoToTheConsoleInOrder) {
  send("godwit\r\n");
  EXPECT_EQ(console.output, "godwit\r\n");
  EXPECT_EQ(in8(device, kLsr), 0x60);
}

TEST_F(Serial16550Test, DivisorLatchHidesDataAndInterruptEnable) {
  out8(device, kIer, 0x05);
  out8(device, kLcr, 0x83);
  out8(device, kDll, 0x34);
  out8(device, kDlm, 0x12);
  EXPECT_EQ(in8(device, kDll), 0x34);
  EXPECT_EQ(in8(device, kDlm), 0x12);
  EXPECT_EQ(console.output, "");
  out8(device, kLcr, 0x03);
  EXPECT_EQ(in8(device, kIer), 0x05);
  EXPECT_EQ(in8(device, kLcr), 0x03);
}

TEST_F(Serial16550Test, RegistersKeepOnlyTheBitsThatExist) {
  out8(device, kIer, 0xf0);
  EXPECT_EQ(in8(device, kIer), 0x00);
  out8(device, kMcr, 0xe0);
  EXPECT_EQ(in8(device, kMcr), 0x00);
  out8(device, kScr, 0xa5);
  EXPECT_EQ(in8(device, kScr), 0xa5);
  out8(device, kLsr, 0xff);
  EXPECT_EQ(in8(device, kLsr), 0x60);
}

TEST_F(Serial16550Test, IirShowsFifosOnlyWhenEnabled) {
  out8(device, kFcr, 0xc0);  // without bit 0 the others are not programmed
  EXPECT_EQ(in8(device, kIir), 0x01);
  out8(device, kFcr, 0x01);
  EXPECT_EQ(in8(device, kIir), 0xc1);
}

TEST_F(Serial16550Test, WideAccessIsSeveralNarrowOnes) {
  out16(device, kMcr, 0x0003);
  EXPECT_EQ(in16(device, kMcr), 0x6003);
  const std::byte words[8] = {std::byte{'x'}};
  device.write(0, words);
  EXPECT_EQ(console.output, "x");
  std::byte all[8];
  device.read(0, all);
}

TEST_F(Serial16550Test, WithoutFifosOneByteIsReceivedAndTheRestWaits) {
  EXPECT_EQ(console.type("abc"), 3u);
  EXPECT_FALSE(console.input_wanted);
  EXPECT_EQ(receive_all(), "abc");
  EXPECT_TRUE(console.input_wanted);
  EXPECT_EQ(in8(device, kRbr), 0);
}

TEST_F(Serial16550Test, InputOverTheFifoIsHeldBackAndNothingIsLost) {
  out8(device, kFcr, 0x01);
  const std::string text(200, 'q');
  const size_t first = console.type(text);
  EXPECT_EQ(first, 64u);
  EXPECT_FALSE(console.input_wanted);
  EXPECT_EQ(console.type("more"), 0u);
  EXPECT_EQ(receive_all(), text.substr(0, first));
  EXPECT_EQ(in8(device, kLsr) & 0x02, 0) << "no overrun";
  EXPECT_TRUE(console.input_wanted);
}

TEST_F(Serial16550Test, ReceiveInterruptTellsTheTriggerLevelFromTheTimeout) {
  out8(device, kFcr, 0x81);  // trigger at 8
  out8(device, kIer, 0x01);
  console.type("1234567");
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(interrupt_id(), 0x0c);
  console.type("8");
  EXPECT_EQ(interrupt_id(), 0x04);
  EXPECT_EQ(in8(device, kRbr), '1');
  EXPECT_EQ(interrupt_id(), 0x0c);
  receive_all();
  EXPECT_EQ(interrupt_id(), 0x01);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(irq.edges, 1);
}

TEST_F(Serial16550Test, EveryTriggerLevelIsTheDatasheets) {
  const std::pair<uint8_t, size_t> levels[] = {{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}};
  out8(device, kIer, 0x01);
  for (const auto& [fcr, level] : levels) {
    out8(device, kFcr, fcr | 0x02);
    for (size_t n = 1; n <= 16; ++n) {
      console.type("x");
      EXPECT_EQ(interrupt_id(), n >= level ? 0x04 : 0x0c) << "trigger " << level << ", " << n;
    }
    receive_all();
  }
}

TEST_F(Serial16550Test, EnablingTheTransmitInterruptOfAnIdleTransmitterRaisesIt) {
  out8(device, kIer, 0x02);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(interrupt_id(), 0x02);
  EXPECT_FALSE(irq.level) << "reading IIR resets it";
  EXPECT_EQ(interrupt_id(), 0x01);
  out8(device, kIer, 0x02);
  EXPECT_FALSE(irq.level) << "it was enabled already";
  out8(device, kIer, 0x00);
  out8(device, kIer, 0x02);
  EXPECT_TRUE(irq.level);
}

TEST_F(Serial16550Test, EachWriteRaisesTheTransmitInterruptAgain) {
  out8(device, kIer, 0x02);
  EXPECT_EQ(interrupt_id(), 0x02);
  send("a");
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(irq.edges, 2);
}

TEST_F(Serial16550Test, ReadingIirResetsTheTransmitInterruptOnlyWhenItIsShown) {
  out8(device, kIer, 0x03);
  console.type("k");
  EXPECT_EQ(interrupt_id(), 0x04) << "no FIFO: no timeout";
  EXPECT_EQ(in8(device, kRbr), 'k');
  EXPECT_EQ(interrupt_id(), 0x02) << "still pending";
}

TEST_F(Serial16550Test, InterruptsAreShownByPriority) {
  out8(device, kFcr, 0x01);
  out8(device, kMcr, 0x10);  // loopback
  for (int i = 0; i < 17; ++i) out8(device, kThr, 'x');
  out8(device, kIer, 0x0f);
  EXPECT_EQ(interrupt_id(), 0x06) << "overrun";
  EXPECT_EQ(in8(device, kLsr), 0x63);
  EXPECT_EQ(interrupt_id(), 0x04) << "data";
  out8(device, kFcr, 0x03);
  EXPECT_EQ(interrupt_id(), 0x02) << "transmitter";
  EXPECT_EQ(interrupt_id(), 0x00) << "modem status";
  (void)in8(device, kMsr);
  EXPECT_EQ(interrupt_id(), 0x01);
  EXPECT_FALSE(irq.level);
}

TEST_F(Serial16550Test, LoopbackReturnsDataAndModemOutputs) {
  out8(device, kMcr, 0x10);
  (void)in8(device, kMsr);
  send("z");
  EXPECT_EQ(console.output, "");
  EXPECT_EQ(receive_all(), "z");
  const std::pair<uint8_t, uint8_t> wires[] = {
      {0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}};
  for (const auto& [output, input] : wires) {
    out8(device, kMcr, 0x10 | output);
    EXPECT_EQ(in8(device, kMsr) & 0xf0, input);
  }
  out8(device, kMcr, 0x1a);  // what Linux probes for
  EXPECT_EQ(in8(device, kMsr) & 0xf0, 0x90);
}

TEST_F(Serial16550Test, ModemDeltasFollowChangesAndClearOnRead) {
  out8(device, kMcr, 0x10);
  EXPECT_EQ(in8(device, kMsr), 0x0b) << "CTS, DSR and DCD went away";
  EXPECT_EQ(in8(device, kMsr), 0x00);
  out8(device, kMcr, 0x14);
  EXPECT_EQ(in8(device, kMsr), 0x40) << "a ring that begins is no delta";
  out8(device, kMcr, 0x10);
  EXPECT_EQ(in8(device, kMsr), 0x04) << "a ring that ends is";
}

TEST_F(Serial16550Test, LoopbackHoldsInputFromOutsideBack) {
  out8(device, kFcr, 0x01);
  out8(device, kMcr, 0x10);
  console.type("outside");
  EXPECT_EQ(in8(device, kLsr) & 1, 0);
  send("inside");
  EXPECT_EQ(receive_all(), "inside");
  out8(device, kMcr, 0x00);
  EXPECT_EQ(receive_all(), "outside");
}

TEST_F(Serial16550Test, OverrunKeepsTheFifoButReplacesTheSingleByte) {
  out8(device, kMcr, 0x10);
  send("ab");
  EXPECT_EQ(in8(device, kLsr), 0x63);
  EXPECT_EQ(in8(device, kLsr), 0x61) << "reading clears the overrun";
  EXPECT_EQ(receive_all(), "b");
  out8(device, kFcr, 0x01);
  send("0123456789abcdefX");
  EXPECT_EQ(in8(device, kLsr), 0x63);
  EXPECT_EQ(receive_all(), "0123456789abcdef");
}

TEST_F(Serial16550Test, FifoResetsClearAndSwitchingModesClearsBoth) {
  out8(device, kFcr, 0x01);
  console.type("junk");
  out8(device, kFcr, 0x03);
  EXPECT_EQ(in8(device, kLsr) & 1, 0);
  console.type("junk");
  out8(device, kFcr, 0x00);
  EXPECT_EQ(in8(device, kLsr) & 1, 0);
  EXPECT_EQ(in8(device, kIir), 0x01);
}

TEST_F(Serial16550Test, AFullConsoleShowsAsABusyTransmitter) {
  out8(device, kFcr, 0x01);
  console.room = 3;
  send("abc");
  EXPECT_EQ(in8(device, kLsr), 0x60);
  send("def");
  EXPECT_EQ(in8(device, kLsr), 0x00) << "neither THRE nor TEMT";
  out8(device, kIer, 0x02);
  EXPECT_FALSE(irq.level);
  console.make_room(2);
  EXPECT_EQ(in8(device, kLsr), 0x00);
  EXPECT_FALSE(irq.level);
  console.make_room(10);
  EXPECT_EQ(in8(device, kLsr), 0x60);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(interrupt_id(), 0x02);
  EXPECT_EQ(console.output, "abcdef");
}

TEST_F(Serial16550Test, WritingToABusyTransmitterLosesBytesAndCountsThem) {
  out8(device, kFcr, 0x01);
  console.room = 0;
  send("0123456789abcdefXYZ");
  EXPECT_EQ(device.transmit_overruns(), 3u);
  console.make_room(100);
  EXPECT_EQ(console.output, "0123456789abcdef");
}

TEST_F(Serial16550Test, ResettingTheTransmitFifoDropsWhatItHeld) {
  out8(device, kFcr, 0x01);
  out8(device, kIer, 0x02);
  (void)interrupt_id();
  console.room = 0;
  send("lost");
  EXPECT_FALSE(irq.level);
  out8(device, kFcr, 0x05);
  EXPECT_EQ(in8(device, kLsr), 0x60);
  EXPECT_TRUE(irq.level);
  console.make_room(100);
  EXPECT_EQ(console.output, "");
}

}  // namespace
}  // namespace godwit::devices
