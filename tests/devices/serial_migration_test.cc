// A serial port with a real console, moved again and again while both directions are busy.
#include <gtest/gtest.h>

#include <random>

#include "devices/console/buffered_console.h"
#include "devices/console/unix_endpoint.h"
#include "devices/serial_16550.h"
#include "tests/devices/console_fixture.h"
#include "tests/devices/fakes.h"

namespace godwit::devices {
namespace {

// One VMM's serial port; the host's other end is a client of its socket, who reads only afterwards.
struct Vmm {
  explicit Vmm(const std::string& path)
      : console(UnixEndpoint::open(path).value(), std::chrono::hours(1)),
        client(connect_unix(path)) {}
  BufferedConsole console;
  FakeIrq irq;
  Serial16550 device{console, irq};
  UniqueFd client;
};

class Guest {
 public:
  // Sends up to `n` bytes, as a driver does: only to an idle transmitter.
  void send(vmm::IoHandler& port, size_t n) {
    for (; n > 0 && (in8(port, 5) & 0x20) != 0; --n) {
      const auto c = static_cast<char>('a' + sent.size() % 26);
      out8(port, 0, static_cast<uint8_t>(c));
      sent.push_back(c);
    }
  }
  void receive(vmm::IoHandler& port) {
    while ((in8(port, 5) & 0x01) != 0) received.push_back(static_cast<char>(in8(port, 0)));
  }
  std::string sent;
  std::string received;
};

TEST(SerialMigration, NoByteIsLostOrDoubledOverManyMoves) {
  const unsigned seed = 1122;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const TemporaryDirectory directory;
  Guest guest;
  std::string printed;  // what users of all the hosts saw
  std::string typed;    // what was typed and taken; the rest stayed in a socket that is gone
  auto vmm = std::make_unique<Vmm>(directory.file("0"));
  vmm->device.resume();
  out8(vmm->device, 2, 0x81);

  for (int move = 1; move <= 60; ++move) {
    const std::string burst(random() % 200, static_cast<char>('A' + move % 26));
    const size_t taken_before = typed.size();
    typed += burst;
    ASSERT_EQ(::write(vmm->client.get(), burst.data(), burst.size()),
              static_cast<ssize_t>(burst.size()));
    guest.send(vmm->device, random() % 3 == 0 ? 500'000 : random() % 1000);
    if (random() % 2 == 0) guest.receive(vmm->device);

    vmm->device.quiesce();
    const auto state = saved(vmm->device);
    typed.resize(taken_before + vmm->console.counters().input_bytes);
    auto next = std::make_unique<Vmm>(directory.file(std::to_string(move)));
    ASSERT_TRUE(load_bytes(next->device, state));
    ASSERT_EQ(saved(next->device), state);
    next->device.resume();
    guest.receive(next->device);
    ASSERT_EQ(guest.received, typed) << "move " << move;

    const UniqueFd old_client = std::move(vmm->client);
    vmm = std::move(next);
    printed += read_exactly(old_client.get(), SIZE_MAX);
    ASSERT_EQ(printed, guest.sent.substr(0, printed.size())) << "move " << move;
  }
  vmm->device.quiesce();
  const auto state = saved(vmm->device);
  ByteReader in(state, "the last state");
  const LoadedSerial left = decode_serial_16550(in).value();
  const UniqueFd last_client = std::move(vmm->client);
  vmm.reset();
  printed += read_exactly(last_client.get(), SIZE_MAX);
  for (const auto part : {left.unsent_output, left.state.transmit.view()}) {
    printed.append(reinterpret_cast<const char*>(part.data()), part.size());
  }
  EXPECT_EQ(printed, guest.sent);
  EXPECT_GT(printed.size(), 1'000'000u);
}

}  // namespace
}  // namespace godwit::devices
