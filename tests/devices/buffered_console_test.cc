#include "devices/console/buffered_console.h"

#include <gtest/gtest.h>

#include "tests/devices/console_fixture.h"

namespace godwit::devices {
namespace {

using namespace std::chrono_literals;

// One end of a socket pair; the test holds the other.
class PairEndpoint final : public ConsoleEndpoint {
 public:
  explicit PairEndpoint(UniqueFd fd) : fd_(std::move(fd)) {}
  Ready prepare(bool want_input, bool want_output, PollSet set) override {
    const int events = (want_input && !ended_ ? POLLIN : 0) | (want_output ? POLLOUT : 0);
    if (events != 0) set[0] = {fd_.get(), static_cast<short>(events), 0};
    return {};
  }
  Ready after_poll(PollSet set) override {
    return {.input = (set[0].revents & POLLIN) != 0, .output = (set[0].revents & POLLOUT) != 0};
  }
  size_t read(std::span<std::byte> to) override {
    const ssize_t n = ::recv(fd_.get(), to.data(), to.size(), MSG_DONTWAIT);
    ended_ = n == 0;
    return n > 0 ? static_cast<size_t>(n) : 0;
  }
  Written write(std::span<const std::byte> bytes) override {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return {.sent = n > 0 ? static_cast<size_t>(n) : 0};
  }

 private:
  UniqueFd fd_;
  bool ended_ = false;
};

class BufferedConsoleTest : public testing::Test {
 protected:
  explicit BufferedConsoleTest(Nanoseconds stall_limit = 1h) {
    int fds[2];
    check_syscall(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), "socketpair");
    host = UniqueFd(fds[0]);
    // The smallest buffer there is, so that a reader who sleeps shows soon.
    const int small = 1;
    check_syscall(::setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), "setsockopt");
    console = std::make_unique<BufferedConsole>(std::make_unique<PairEndpoint>(UniqueFd(fds[1])),
                                                stall_limit);
    console->attach(client);
  }
  ~BufferedConsoleTest() override { console.reset(); }

  // Writes a recognizable pattern until the console takes no more; returns what it took.
  std::string fill() {
    std::string sent;
    while (true) {
      const std::string piece = fmt::format("{:07} ", sent.size());
      const size_t n = console->write(as_bytes(piece));
      sent += piece.substr(0, n);
      if (n < piece.size()) return sent;
    }
  }
  std::string unsent() {
    ByteWriter out;
    console->save_output(out);
    ByteReader in(out.view(), "output");
    return in.string(kConsoleOutputBytes, "size");
  }

  RecordingClient client;
  UniqueFd host;
  std::unique_ptr<BufferedConsole> console;
};

TEST_F(BufferedConsoleTest, AnotherDeviceGoesOnWhereTheFirstOneLeft) {
  console->resume();
  ASSERT_EQ(console->write(as_bytes("before ")), 7u);
  EXPECT_EQ(read_exactly(host.get(), 7), "before ");
  console->detach();
  ASSERT_EQ(::write(host.get(), "typed", 5), 5);
  // Output goes on its way without a device.
  ASSERT_EQ(console->write(as_bytes("between ")), 8u);
  EXPECT_EQ(read_exactly(host.get(), 8), "between ");
  console->quiesce();
  RecordingClient second;
  console->attach(second);
  console->resume();
  EXPECT_TRUE(second.wait_input(5));
  EXPECT_EQ(second.input(), "typed");
  EXPECT_EQ(client.input(), "");
  ASSERT_EQ(console->write(as_bytes("after")), 5u);
  EXPECT_EQ(read_exactly(host.get(), 5), "after");
  console->shut_down(Unsent::kSend);  // before `second` goes
}

TEST_F(BufferedConsoleTest, DetachReturnsWhileOutputKeepsTheThreadBusy) {
  console->resume();
  fill();
  console->detach();
  EXPECT_FALSE(read_exactly(host.get(), 1).empty());
}

TEST_F(BufferedConsoleTest, MovesNothingBeforeResume) {
  EXPECT_EQ(console->write(as_bytes("early")), 5u);
  EXPECT_EQ(unsent(), "early");
  console->resume();
  EXPECT_EQ(read_exactly(host.get(), 5), "early");
}

TEST_F(BufferedConsoleTest, CarriesBothWays) {
  console->resume();
  console->write(as_bytes("to the host"));
  EXPECT_EQ(read_exactly(host.get(), 11), "to the host");
  ASSERT_EQ(::write(host.get(), "to the guest", 12), 12);
  ASSERT_TRUE(client.wait_input(12));
  EXPECT_EQ(client.input(), "to the guest");
}

TEST_F(BufferedConsoleTest, ReadsNoMoreThanTheDeviceWants) {
  client.want_one_chunk();
  const std::string text(3 * kConsoleInputChunk, 'i');
  ASSERT_EQ(::write(host.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  console->resume();
  ASSERT_TRUE(client.wait_input(kConsoleInputChunk));
  console->quiesce();
  EXPECT_EQ(client.input().size(), kConsoleInputChunk) << "the rest waits in the socket";
  console->resume();
  console->set_input_wanted(true);
  ASSERT_TRUE(client.wait_input(2 * kConsoleInputChunk));
}

TEST_F(BufferedConsoleTest, AFullBufferTakesNoMoreAndSaysWhenThereIsRoom) {
  console->resume();
  const std::string sent = fill();
  EXPECT_GE(sent.size(), kConsoleOutputBytes);
  EXPECT_EQ(read_exactly(host.get(), sent.size()), sent) << "in order, none lost";
  EXPECT_TRUE(client.wait_rooms(1));
  EXPECT_EQ(console->counters().dropped_bytes, 0u);
}

TEST_F(BufferedConsoleTest, WhatTheHostTookAndWhatIsSavedIsTheWhole) {
  console->resume();
  const std::string sent = fill();
  const std::string some = read_exactly(host.get(), 10'000);
  console->quiesce();
  const std::string rest = unsent();
  ASSERT_FALSE(rest.empty());
  console->shut_down(Unsent::kDiscard);
  console.reset();
  EXPECT_EQ(some + read_exactly(host.get(), sent.size()) + rest, sent);
}

TEST_F(BufferedConsoleTest, LoadedOutputLeavesFirst) {
  console->write(as_bytes("replaced"));
  console->load_output(as_bytes("from the source, "));
  console->write(as_bytes("then from here"));
  console->resume();
  EXPECT_EQ(read_exactly(host.get(), 31), "from the source, then from here");
}

TEST_F(BufferedConsoleTest, QuietForeverWhenQuiescedAgainAndAgain) {
  std::string all;
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    console->resume();
    const std::string piece = fmt::format("{} ", i);
    console->write(as_bytes(piece));
    expected += piece;
    console->quiesce();
    console->quiesce();
  }
  console->resume();
  EXPECT_EQ(read_exactly(host.get(), expected.size()), expected);
}

TEST_F(BufferedConsoleTest, ShutDownSendsWhatIsLeft) {
  console->resume();
  console->write(as_bytes("last words"));
  console->shut_down(Unsent::kSend);
  EXPECT_EQ(read_exactly(host.get(), 10), "last words");
  EXPECT_EQ(console->write(as_bytes("too late")), 8u);
  EXPECT_EQ(console->counters().dropped_bytes, 8u);
}

TEST_F(BufferedConsoleTest, ShutDownOfAQuiescedConsoleLeavesTheOutputToWhoeverLoadedIt) {
  console->write(as_bytes("carried over"));
  console.reset();
  EXPECT_EQ(read_exactly(host.get(), 1), "");
}

TEST_F(BufferedConsoleTest, ShutDownMayStillSendWhatWasQuiesced) {
  console->write(as_bytes("stopped while paused"));
  console->shut_down(Unsent::kSend);
  console.reset();
  EXPECT_EQ(read_exactly(host.get(), 100), "stopped while paused");
}

class StalledConsoleTest : public BufferedConsoleTest {
 protected:
  StalledConsoleTest() : BufferedConsoleTest(10ms) {}
};

TEST_F(StalledConsoleTest, AReaderThatSleepsCostsItsOutputNotTheGuest) {
  console->resume();
  const std::string sent = fill();
  ASSERT_TRUE(client.wait_rooms(1)) << "the guest may go on";
  EXPECT_EQ(console->write(as_bytes("lost")), 4u);
  console->quiesce();
  EXPECT_EQ(unsent(), "");
  const uint64_t dropped = console->counters().dropped_bytes;
  const uint64_t kept = console->counters().output_bytes;
  EXPECT_EQ(dropped + kept, sent.size() + 4);
  console->resume();
  EXPECT_EQ(read_exactly(host.get(), kept), sent.substr(0, kept));
  // Now that it reads again it gets what comes next, sooner or later.
  std::string text;
  for (int i = 0; i < 3000 && text.empty(); ++i) {
    console->write(as_bytes("!"));
    pollfd p{host.get(), POLLIN, 0};
    if (::poll(&p, 1, 10) == 1) text = read_exactly(host.get(), 1);
  }
  EXPECT_EQ(text, "!");
}

TEST(NullConsole, TakesEverythingAndHasNoState) {
  NullConsole console;
  EXPECT_EQ(console.write(as_bytes("nothing")), 7u);
  ByteWriter out;
  console.save_output(out);
  EXPECT_EQ(out.size(), 4u);
}

}  // namespace
}  // namespace godwit::devices
