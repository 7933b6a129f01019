#include "devices/virtio/console.h"

#include <gtest/gtest.h>

#include <random>

#include "devices/console/buffered_console.h"
#include "devices/console/unix_endpoint.h"
#include "devices/virtio/spec.h"
#include "tests/devices/console_fixture.h"
#include "tests/devices/state_torture.h"
#include "tests/virtio/machine.h"

namespace godwit::devices::virtio {
namespace {

constexpr Gpa kOutput{4 << 20};
constexpr Gpa kInput{8 << 20};
constexpr uint16_t kSize = 16;

class VirtioConsoleTest : public testing::Test {
 protected:
  std::unique_ptr<Model> make_console(const std::string& name, Nanoseconds stall_limit) {
    return std::make_unique<Console>(std::make_unique<BufferedConsole>(
        UnixEndpoint::open(directory_.file(name)).value(), stall_limit));
  }
  void start() {
    a_->device.resume();
    a_->driver.start(kEventIdx, 2, kSize);
  }
  // Offers a request of `text` and waits for it to come back.
  void print(TestMachine& machine, std::string_view text) {
    machine.write(kOutput, text);
    machine.driver.queue(1).add({{kOutput, static_cast<uint32_t>(text.size())}}, 0);
    machine.driver.kick(1);
    ASSERT_EQ(machine.driver.queue(1).wait_used(1).size(), 1u);
  }
  void type(std::string_view text) {
    ASSERT_EQ(::write(client_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  TemporaryDirectory directory_;
  std::unique_ptr<TestMachine> a_ =
      std::make_unique<TestMachine>(make_memory(), make_console("a", std::chrono::hours(1)));
  UniqueFd client_ = connect_unix(directory_.file("a"));
};

TEST_F(VirtioConsoleTest, CarriesOutput) {
  start();
  EXPECT_EQ(a_->driver.read_device(0, 8), 0u);
  print(*a_, "hello");
  print(*a_, " world");
  EXPECT_EQ(read_exactly(client_.get(), 11), "hello world");
}

TEST_F(VirtioConsoleTest, CarriesInputIntoScatteredBuffers) {
  start();
  a_->driver.queue(0).add({{kInput, 3, true}, {kInput + 100, 64, true}}, 0);
  a_->driver.kick(0);
  type("abcdefg");
  const auto used = a_->driver.queue(0).wait_used(1);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].written, 7u);
  EXPECT_EQ(a_->text(kInput, 3), "abc");
  EXPECT_EQ(a_->text(kInput + 100, 4), "defg");
  EXPECT_TRUE(a_->msi.wait_for(0, 1));
}

TEST_F(VirtioConsoleTest, KeepsInputUntilThereIsRoom) {
  start();
  std::string text(10'000, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 26);
  type(text);
  std::string got;
  while (got.size() < text.size()) {
    a_->driver.queue(0).add({{kInput, 1000, true}}, 0);
    a_->driver.kick(0);
    const auto used = a_->driver.queue(0).wait_used(1);
    ASSERT_EQ(used.size(), 1u);
    got += a_->text(kInput, used[0].written);
  }
  EXPECT_EQ(got, text);
}

TEST_F(VirtioConsoleTest, HoldsARequestBackWhileNobodyReads) {
  start();
  const std::string big(2 << 20, 'x');
  a_->write(kOutput, big);
  a_->driver.queue(1).add({{kOutput, static_cast<uint32_t>(big.size())}}, 0);
  a_->driver.kick(1);
  EXPECT_EQ(read_exactly(client_.get(), 1 << 20), big.substr(0, 1 << 20));
  EXPECT_EQ(a_->driver.queue(1).used_index(), 0);
  EXPECT_EQ(read_exactly(client_.get(), 1 << 20), big.substr(1 << 20));
  EXPECT_EQ(a_->driver.queue(1).wait_used(1).size(), 1u);
}

TEST_F(VirtioConsoleTest, AResetInTheMiddleOfARequestForgetsIt) {
  start();
  const std::string big(2 << 20, 'x');
  a_->write(kOutput, big);
  a_->driver.queue(1).add({{kOutput, static_cast<uint32_t>(big.size())}}, 0);
  a_->driver.kick(1);
  (void)read_exactly(client_.get(), 1000);
  a_->driver.start(0, 2, kSize);
  a_->write(kOutput, "END");
  a_->driver.queue(1).add({{kOutput, 3}}, 0);
  a_->driver.kick(1);
  std::string got;
  while (!got.ends_with("END")) {
    const std::string more = read_exactly(client_.get(), 1);
    ASSERT_FALSE(more.empty());
    got += more;
  }
  EXPECT_LT(got.size(), big.size());
}

TEST_F(VirtioConsoleTest, StandsStillWhenItsRingsAreBroken) {
  start();
  a_->driver.queue(1).set_available_index(1000);
  a_->driver.kick(1);
  ASSERT_TRUE(a_->msi.wait_for(2, 1));
  EXPECT_NE(a_->driver.status() & kNeedsReset, 0);
  a_->driver.start(0, 2, kSize);
  print(*a_, "again");
  EXPECT_EQ(read_exactly(client_.get(), 5), "again");
}

TEST_F(VirtioConsoleTest, PrintsWhatWasSaidBeforeTheGuestEnded) {
  start();
  print(*a_, "bye");
  a_->device.quiesce();
  a_->device.model().shut_down(false);
  EXPECT_EQ(read_exactly(client_.get(), 3), "bye");
}

// Both directions busy at every move: what the users of all hosts saw is what the guest said.
TEST_F(VirtioConsoleTest, NoByteIsLostOrDoubledOverManyMoves) {
  const unsigned seed = 514;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::string sent, printed, typed, received;
  std::unique_ptr<TestMachine> here = std::move(a_);
  here->device.resume();
  here->driver.start(kEventIdx | kIndirect, 2, kSize);
  here->driver.queue(0).add({{kInput, 512, true}}, 0);
  bool printing = false;
  for (int move = 1; move <= 40; ++move) {
    const std::string burst(random() % 2000, static_cast<char>('A' + move % 26));
    const uint64_t before = here->model<Console>().backend().counters().input_bytes;
    type(burst);
    if (!printing) {
      const std::string text(1 + random() % 700'000, static_cast<char>('a' + move % 26));
      here->write(kOutput, text);
      here->driver.queue(1).add({{kOutput, static_cast<uint32_t>(text.size())}}, 0);
      here->driver.kick(1);
      sent += text;
      printing = true;
    }
    const std::string name = std::to_string(move);
    auto next = move_to(*here, make_console(name, std::chrono::hours(1)));
    typed += burst.substr(0, here->model<Console>().backend().counters().input_bytes - before);
    UniqueFd old_client = std::exchange(client_, connect_unix(directory_.file(name)));
    here = std::move(next);
    printed += read_exactly(old_client.get(), SIZE_MAX);
    ASSERT_EQ(printed, sent.substr(0, printed.size())) << "move " << move;
    here->device.resume();
    printed += read_exactly(client_.get(), random() % (sent.size() - printed.size() + 1));
    while (received.size() < typed.size()) {
      const auto used = here->driver.queue(0).wait_used(1);
      ASSERT_EQ(used.size(), 1u) << "move " << move;
      received += here->text(kInput, used[0].written);
      here->driver.queue(0).add({{kInput, 512, true}}, 0);
      here->driver.kick(0);
    }
    ASSERT_EQ(received, typed) << "move " << move;
    if (!here->driver.queue(1).take_used().empty()) printing = false;
  }
  printed += read_exactly(client_.get(), sent.size() - printed.size());
  EXPECT_EQ(printed, sent);
}

TEST_F(VirtioConsoleTest, StandsAnyState) {
  auto fake = std::make_unique<FakeConsole>();
  FakeConsole& console = *fake;
  TestMachine machine(make_memory(), std::make_unique<Console>(std::move(fake)));
  machine.device.resume();
  machine.driver.start(0, 2, kSize);
  machine.device.quiesce();
  console.unsent = "unsent";
  (void)console.type("input");
  struct Fixture {
    explicit Fixture(const std::shared_ptr<vmm::GuestMemory>& memory)
        : machine(memory, std::make_unique<Console>(std::make_unique<FakeConsole>())) {}
    TestMachine machine;
    PciDevice& device = machine.device;
  };
  torture_state(saved(machine.device), [&] { return std::make_unique<Fixture>(machine.memory); });
}

}  // namespace
}  // namespace godwit::devices::virtio
