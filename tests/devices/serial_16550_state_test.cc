#include "devices/serial_16550_state.h"

#include <gtest/gtest.h>

#include "devices/serial_16550.h"
#include "tests/devices/state_torture.h"

namespace godwit::devices {
namespace {

struct Port {
  FakeConsole console;
  FakeIrq irq;
  Serial16550 device{console, irq};
};

constexpr uint64_t kRegisters[] = {0, 1, 2, 3, 4, 5, 6, 7};

// A port in the middle of everything: bytes in each queue, interrupts pending.
std::unique_ptr<Port> busy_port() {
  auto port = std::make_unique<Port>();
  port->device.resume();
  out8(port->device, 3, 0x80);
  out8(port->device, 0, 1);
  out8(port->device, 1, 2);
  out8(port->device, 3, 0x1b);
  out8(port->device, 2, 0x81);
  out8(port->device, 1, 0x0f);
  out8(port->device, 7, 0x5a);
  port->console.room = 2;
  for (const char c : std::string_view("output")) {
    out8(port->device, 0, static_cast<uint8_t>(c));
  }
  port->console.type("input that is longer than the FIFO");
  port->device.quiesce();
  port->console.unsent = port->console.output;  // the fake's host took nothing
  return port;
}

std::string receive_all(Port& port) {
  std::string text;
  while ((in8(port.device, 5) & 1) != 0) text.push_back(static_cast<char>(in8(port.device, 0)));
  return text;
}

TEST(Serial16550State, MovesInTheMiddleOfInputAndOutputWithoutLosingOrDoublingAByte) {
  const auto source = busy_port();
  Port target;
  ASSERT_TRUE(load_bytes(target.device, saved(source->device)));
  EXPECT_EQ(target.irq.calls, 0) << "no trace before resume()";
  EXPECT_EQ(target.console.output, "");
  EXPECT_EQ(target.console.unsent, "ou");
  EXPECT_EQ(saved(target.device), saved(source->device));

  target.device.resume();
  EXPECT_TRUE(target.irq.level) << "pending interrupts are raised again";
  EXPECT_EQ(target.console.unsent + target.console.output, "output");
  EXPECT_FALSE(target.console.input_wanted);
  EXPECT_EQ(in8(target.device, 2), 0xc4);
  EXPECT_EQ(receive_all(target), "input that is longer than the FIFO");
  EXPECT_TRUE(target.console.input_wanted);
  EXPECT_EQ(in8(target.device, 7), 0x5a);
  EXPECT_EQ(in8(target.device, 3), 0x1b);
  out8(target.device, 3, 0x80);
  EXPECT_EQ(in8(target.device, 0), 1);
  EXPECT_EQ(in8(target.device, 1), 2);
}

TEST(Serial16550State, ASourceThatGoesOnAfterAllDoesSoAsIfNothingHadBeen) {
  const auto source = busy_port();
  const int calls = source->irq.calls;
  (void)saved(source->device);
  source->device.resume();
  EXPECT_EQ(source->irq.calls, calls);
  EXPECT_FALSE(source->console.quiesced);
  source->console.make_room(100);
  EXPECT_EQ(source->console.output, "output");
  EXPECT_EQ(receive_all(*source), "input that is longer than the FIFO");
}

TEST(Serial16550State, LoadingAgainReplacesAndOnlyTheLastOneCounts) {
  const auto source = busy_port();
  Port idle;
  Port target;
  ASSERT_TRUE(load_bytes(target.device, saved(source->device)));
  ASSERT_TRUE(load_bytes(target.device, saved(idle.device)));
  target.device.resume();
  EXPECT_EQ(target.irq.calls, 0);
  EXPECT_EQ(target.console.output, "");
  EXPECT_EQ(target.console.unsent, "");
  EXPECT_EQ(saved(target.device), saved(idle.device));
}

TEST(Serial16550State, LoadingALowLineLowersOneThatWasHigh) {
  const auto target = busy_port();
  ASSERT_TRUE(target->irq.level);
  Port idle;
  ASSERT_TRUE(load_bytes(target->device, saved(idle.device)));
  EXPECT_TRUE(target->irq.level);
  target->device.resume();
  EXPECT_FALSE(target->irq.level);
}

TEST(Serial16550State, HostileBytesAreRefusedOrHarmless) {
  const auto source = busy_port();
  const auto make = [] { return std::make_unique<Port>(); };
  torture_load(saved(source->device), kRegisters, make);
}

TEST(Serial16550State, ImpossibleStatesAreNamed) {
  Serial16550State both;
  both.thre_pending = true;
  both.transmit.push(std::byte{1});
  Serial16550State overfull;  // more than one byte without FIFOs
  overfull.receive.push(std::byte{1});
  overfull.receive.push(std::byte{2});
  for (const Serial16550State& state : {both, overfull}) {
    ByteWriter out;
    encode(state, out);
    out.blob({});
    Port target;
    const auto result = load_bytes(target.device, out.view());
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("serial-16550"), std::string::npos);
  }
}

TEST(Serial16550State, LayoutIsTheDocumentedOne) {
  Serial16550State state;
  state.interrupt_enable = 0x05;
  state.fifo_control = 0x81;
  state.line_control = 0x03;
  state.modem_control = 0x0b;
  state.modem_deltas = 0x01;
  state.scratch = 0x77;
  state.divisor = 0x0102;
  state.thre_pending = true;
  state.receive.push(std::byte{'r'});
  ByteWriter out;
  encode(state, out);
  out.blob({});
  const uint8_t golden[] = {0x05, 0x81, 0x03, 0x0b, 0x01, 0x77, 0x02, 0x01, 0x02,  // registers
                            1,    0,    0,    0,    'r',  0,    0,    0,    0,     // FIFOs
                            0,    0,    0,    0,    0,    0,    0,    0};          // inbox, unsent
  ASSERT_EQ(out.size(), sizeof golden);
  for (size_t i = 0; i < sizeof golden; ++i) {
    EXPECT_EQ(std::to_integer<uint8_t>(out.view()[i]), golden[i]) << i;
  }
}

}  // namespace
}  // namespace godwit::devices
