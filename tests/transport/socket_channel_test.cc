#include "migration/transport/socket_channel.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/transport/channel_exercise.h"
#include "tests/transport/socket_pair.h"

namespace godwit::migration {
namespace {

class SocketChannelTest : public testing::TestWithParam<SocketPair (*)()> {
 protected:
  SocketChannelTest() {
    auto [first, second] = GetParam()();
    a = std::make_unique<SocketChannel>(std::move(first));
    b = std::make_unique<SocketChannel>(std::move(second));
  }
  std::unique_ptr<Channel> a;
  std::unique_ptr<Channel> b;
};

INSTANTIATE_TEST_SUITE_P(Sockets, SocketChannelTest, testing::Values(&tcp_pair, &unix_pair),
                         [](const auto& test) { return test.index == 0 ? "Tcp" : "Unix"; });

TEST_P(SocketChannelTest, BytesOfRandomSizesArriveInOrder) {
  exercise_integrity(*a, *b, 11);
}

TEST_P(SocketChannelTest, AStuckPeerIsATimeout) {
  exercise_timeouts(*a);
}

TEST_P(SocketChannelTest, NothingToReceiveIsATimeout) {
  a->set_timeout(std::chrono::milliseconds(20));
  std::byte byte;
  const auto result = a->receive(MutableBuffer(&byte, 1));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kTimeout);
  EXPECT_NE(result.error().message.find("receiving"), std::string::npos);
}

TEST_P(SocketChannelTest, ShutdownWakesABlockedSend) {
  exercise_shutdown_of_send(*a);
}

TEST_P(SocketChannelTest, ShutdownWakesABlockedReceive) {
  exercise_shutdown_of_receive(*a);
}

TEST_P(SocketChannelTest, APeerThatIsGoneIsNamed) {
  const std::string peer = a->peer();
  b.reset();
  std::byte byte;
  const auto received = a->receive(MutableBuffer(&byte, 1));
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Errc::kIo);
  EXPECT_EQ(received.error().message,
            "connection to " + peer + " closed by the peer while receiving");
}

TEST_P(SocketChannelTest, SendingToAPeerThatIsGoneFails) {
  b.reset();
  const std::vector<std::byte> data(1 << 20);
  Result<> sent;
  for (int i = 0; i < 64 && sent; ++i) sent = a->send(data);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::kIo);
  EXPECT_NE(sent.error().message.find("closed by the peer while sending"), std::string::npos);
}

TEST_P(SocketChannelTest, SmallSendsLeaveTogetherAtFlush) {
  const auto data = random_bytes(100, 3);
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(a->send(data));
  EXPECT_EQ(a->stats().send_calls, 0U);
  EXPECT_FALSE(b->wait_readable(std::chrono::milliseconds(1)).value());
  ASSERT_TRUE(a->flush());
  EXPECT_EQ(a->stats().send_calls, 1U);
  for (int i = 0; i < 500; ++i) {
    std::vector<std::byte> got(data.size());
    ASSERT_TRUE(b->receive(MutableBuffer(got)));
    ASSERT_EQ(got, data);
  }
  EXPECT_LE(b->stats().receive_calls, 16U);
  EXPECT_FALSE(b->wait_readable(std::chrono::milliseconds(1)).value());
}

TEST_P(SocketChannelTest, AHeaderAndItsPayloadAreOneSystemCallEach) {
  constexpr int kFrames = 64;
  const auto header = random_bytes(32, 1);
  const auto payload = random_bytes(256 << 10, 2);
  std::jthread reader([&] {
    std::vector<std::byte> got_header(header.size());
    std::vector<std::byte> got(payload.size());
    for (int i = 0; i < kFrames; ++i) {
      ASSERT_TRUE(b->receive(MutableBuffer(got_header)));
      ASSERT_TRUE(b->receive(MutableBuffer(got)));
      ASSERT_TRUE(got == payload && got_header == header);
    }
  });
  for (int i = 0; i < kFrames; ++i) {
    const std::array<ConstBuffer, 2> frame{header, payload};
    ASSERT_TRUE(a->send(frame));
  }
  reader.join();
  // One call takes a frame unless the socket was full: then a few calls, each after a poll.
  EXPECT_LE(a->stats().send_calls, kFrames * 16U);
  EXPECT_EQ(a->stats().bytes_sent, kFrames * (header.size() + payload.size()));
  EXPECT_EQ(b->stats().bytes_received, a->stats().bytes_sent);
}

TEST_P(SocketChannelTest, MoreBuffersThanTheKernelTakesAtOnce) {
  const auto data = random_bytes(5000 * 50, 9);
  std::vector<ConstBuffer> gather;
  for (size_t at = 0; at < data.size(); at += 50)
    gather.push_back(ConstBuffer(data).subspan(at, 50));
  std::vector<std::byte> got(data.size());
  std::vector<MutableBuffer> scatter;
  for (size_t at = 0; at < got.size(); at += 25)
    scatter.push_back(MutableBuffer(got).subspan(at, 25));
  std::jthread sender([&] { ASSERT_TRUE(a->send(gather)); });
  ASSERT_TRUE(b->receive(scatter));
  EXPECT_EQ(got, data);
}

TEST_P(SocketChannelTest, WaitReadableSeesReadAheadBytesAndTheEnd) {
  const auto data = random_bytes(10, 1);
  ASSERT_TRUE(b->send(data));
  ASSERT_TRUE(b->flush());
  EXPECT_TRUE(a->wait_readable(std::chrono::seconds(5)).value());
  std::byte byte;
  ASSERT_TRUE(a->receive(MutableBuffer(&byte, 1)));
  EXPECT_TRUE(a->wait_readable(Nanoseconds(0)).value());
  b.reset();
  std::vector<std::byte> rest(9);
  ASSERT_TRUE(a->receive(MutableBuffer(rest)));
  EXPECT_TRUE(a->wait_readable(std::chrono::seconds(5)).value());
}

}  // namespace
}  // namespace godwit::migration
