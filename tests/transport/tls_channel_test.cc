#include "migration/transport/tls_channel.h"

#include <gmock/gmock.h>

#include "tests/transport/channel_exercise.h"
#include "tests/transport/tls_fixture.h"

namespace godwit::migration {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class TlsChannelTest : public TlsTest {
 protected:
  TlsChannelTest() {
    auto outcome = connect();
    EXPECT_TRUE(outcome.client) << outcome.client.error().message;
    EXPECT_TRUE(outcome.server) << outcome.server.error().message;
    a = std::move(*outcome.client);
    b = std::move(*outcome.server);
  }
  std::unique_ptr<TlsChannel> a;
  std::unique_ptr<TlsChannel> b;
};

TEST_F(TlsChannelTest, BytesOfRandomSizesArriveInOrder) {
  exercise_integrity(*a, *b, 21);
}

TEST_F(TlsChannelTest, TheKeyChangesOnTheWay) {
  a->set_key_update_interval(1 << 20);
  b->set_key_update_interval(300'000);
  exercise_integrity(*a, *b, 22);
}

TEST_F(TlsChannelTest, AStuckPeerIsATimeout) {
  exercise_timeouts(*a);
}

TEST_F(TlsChannelTest, ShutdownWakesABlockedSend) {
  exercise_shutdown_of_send(*b);
}

TEST_F(TlsChannelTest, ShutdownWakesABlockedReceive) {
  exercise_shutdown_of_receive(*a);
}

TEST_F(TlsChannelTest, NamesCipherAndPeer) {
  EXPECT_THAT(a->peer(), MatchesRegex("tcp:server \\(TLS_.*, CN=host2\\)"));
  EXPECT_THAT(b->peer(), MatchesRegex("tcp:client \\(TLS_.*, CN=host2\\)"));
  EXPECT_TRUE(a->authenticated());
}

TEST_F(TlsChannelTest, LargeSendsTakeFewSystemCalls) {
  constexpr uint64_t kMiB = 64;
  constexpr size_t kBlock = 256 << 10;
  const auto header = random_bytes(64, 1);
  const auto block = random_bytes(kBlock, 2);
  const uint64_t calls_before = a->stats().send_calls;
  const uint64_t bytes_before = a->stats().bytes_sent;
  const uint64_t receives_before = b->stats().receive_calls;
  std::thread reader([&] {
    std::vector<std::byte> got(header.size() + kBlock);
    for (uint64_t i = 0; i < kMiB * 4; ++i) {
      const auto received = b->receive(MutableBuffer(got));
      ASSERT_TRUE(received) << received.error().message;
    }
  });
  for (uint64_t i = 0; i < kMiB * 4; ++i) {
    const std::array<ConstBuffer, 2> frame{header, block};
    ASSERT_TRUE(a->send(frame));
  }
  ASSERT_TRUE(a->flush());
  reader.join();
  const uint64_t payload = kMiB * 4 * (kBlock + header.size());
  const uint64_t records = (payload + kTlsRecordPayload - 1) / kTlsRecordPayload;
  EXPECT_EQ(a->stats().bytes_sent - bytes_before, payload + records * 22) << "full records only";
  // 4 writes per MiB; a full socket splits one, each part after a poll.
  EXPECT_LE(a->stats().send_calls - calls_before, kMiB * 4 * 6);
  // Reads are as large as what has arrived: on average well over a record.
  EXPECT_LE(b->stats().receive_calls - receives_before, kMiB * 64);
}

TEST_F(TlsChannelTest, SmallSendsShareARecord) {
  const auto before = a->stats();
  const auto data = random_bytes(100, 3);
  for (int i = 0; i < 160; ++i) ASSERT_TRUE(a->send(data));
  EXPECT_EQ(a->stats().send_calls, before.send_calls);
  ASSERT_TRUE(a->flush());
  EXPECT_EQ(a->stats().send_calls, before.send_calls + 1);
  EXPECT_EQ(a->stats().bytes_sent, before.bytes_sent + 16000 + 22);
}

TEST_F(TlsChannelTest, WaitReadableSeesDecryptedBytesAndTheEnd) {
  EXPECT_FALSE(a->wait_readable(std::chrono::milliseconds(1)).value());
  ASSERT_TRUE(b->send(random_bytes(10, 1)));
  ASSERT_TRUE(b->flush());
  EXPECT_TRUE(a->wait_readable(std::chrono::seconds(10)).value());
  std::byte byte;
  ASSERT_TRUE(a->receive(MutableBuffer(&byte, 1)));
  EXPECT_TRUE(a->wait_readable(Nanoseconds(0)).value());
  std::vector<std::byte> rest(9);
  ASSERT_TRUE(a->receive(MutableBuffer(rest)));
  EXPECT_FALSE(a->wait_readable(std::chrono::milliseconds(1)).value());
  b.reset();
  EXPECT_TRUE(a->wait_readable(std::chrono::seconds(10)).value());
}

TEST_F(TlsChannelTest, AnOrderlyEndIsTheClosingOfThePeer) {
  b.reset();
  std::byte byte;
  const auto received = a->receive(MutableBuffer(&byte, 1));
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Errc::kIo);
  EXPECT_EQ(received.error().message,
            "connection to tcp:server closed by the peer while receiving");
}

TEST_F(TlsTest, ATruncatedStreamIsNoOrderlyEnd) {
  auto sockets = tcp_pair();
  const std::shared_ptr<StreamSocket> server_socket = std::move(sockets.second);
  Result<std::unique_ptr<TlsChannel>> server = make_error(Errc::kIo, "not run");
  const auto deadline = deadline_after(std::chrono::seconds(20));
  std::thread serving([&] {
    server = TlsChannel::handshake(server_socket, *context(TlsRole::kServer), "", deadline);
  });
  auto client = TlsChannel::handshake(std::move(sockets.first), *context(TlsRole::kClient), "host2",
                                      deadline);
  serving.join();
  ASSERT_TRUE(client && server);
  server_socket->shutdown();  // as a killed process or a cut link would: no close_notify
  std::byte byte;
  const auto received = (*client)->receive(MutableBuffer(&byte, 1));
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Errc::kIo);
  EXPECT_THAT(received.error().message, HasSubstr("no TLS close_notify"));
}

TEST_F(TlsTest, AChangedByteIsNoticed) {
  // A relay between the two that inverts one bit of the first application record.
  auto [client_socket, relay_near] = tcp_pair();
  auto [relay_far, server_socket] = tcp_pair();
  std::atomic<bool> flip = false;
  const auto pump = [](StreamSocket& from, StreamSocket& to, std::atomic<bool>* flag) {
    std::vector<std::byte> buffer(64 << 10);
    while (true) {
      const iovec into{buffer.data(), buffer.size()};
      const auto count = from.read_some({&into, 1});
      if (!count || *count == 0) break;
      if (flag != nullptr && *flag) buffer[*count / 2] ^= std::byte{1};
      iovec out{buffer.data(), *count};
      if (!to.write_all({&out, 1})) break;
    }
    to.shutdown();
  };
  std::thread there([&, &near = *relay_near, &far = *relay_far] { pump(near, far, &flip); });
  std::thread back([&, &near = *relay_near, &far = *relay_far] { pump(far, near, nullptr); });
  {
    auto outcome = connect({std::move(client_socket), std::move(server_socket)});
    ASSERT_TRUE(outcome.client && outcome.server);
    flip = true;
    ASSERT_TRUE((*outcome.client)->send(random_bytes(5000, 1)));
    ASSERT_TRUE((*outcome.client)->flush());
    std::vector<std::byte> got(5000);
    const auto received = (*outcome.server)->receive(MutableBuffer(got));
    ASSERT_FALSE(received);
    EXPECT_EQ(received.error().code, Errc::kIo);
    EXPECT_THAT(received.error().message, HasSubstr("bad record mac"));
  }
  there.join();
  back.join();
}

}  // namespace
}  // namespace godwit::migration
