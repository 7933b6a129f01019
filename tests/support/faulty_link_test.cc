#include "tests/support/faulty_link.h"

#include <gtest/gtest.h>

#include <thread>

namespace godwit::support {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<std::byte> pattern(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

// One connection with `script` at its connecting end.
class Link {
 public:
  explicit Link(const FaultScript& script) : link_(std::vector{script}) {
    source = link_.connector().connect(seconds(1)).value();
    target = link_.acceptor().accept(seconds(1)).value();
  }
  uint64_t sent() const { return link_.bytes_sent(0); }

 private:
  FaultyLink link_;

 public:
  std::unique_ptr<Channel> source;
  std::unique_ptr<Channel> target;
};

Result<> send_and_flush(Channel& channel, ConstBuffer bytes) {
  GODWIT_TRY(channel.send(bytes));
  return channel.flush();
}

size_t bytes_until_error(Channel& channel, Errc expected) {
  for (size_t count = 0;; ++count) {
    std::byte byte;
    const auto result = channel.receive(MutableBuffer(&byte, 1));
    if (result) continue;
    EXPECT_EQ(result.error().code, expected) << result.error().message;
    return count;
  }
}

TEST(FaultyLink, WithoutFaultsBytesArriveBothWays) {
  Link link({.max_piece = 700, .seed = 5});
  const auto data = pattern(1 << 20);
  std::jthread echo([&] {
    std::vector<std::byte> got(data.size());
    ASSERT_TRUE(link.target->receive(MutableBuffer(got)));
    ASSERT_TRUE(send_and_flush(*link.target, got));
  });
  ASSERT_TRUE(send_and_flush(*link.source, data));
  std::vector<std::byte> got(data.size());
  ASSERT_TRUE(link.source->receive(MutableBuffer(got)));
  EXPECT_EQ(got, data);
  EXPECT_EQ(link.sent(), data.size());
}

TEST(FaultyLink, CutPassesExactlyTheBytesBefore) {
  Link link({.faults = {{.kind = FaultKind::kCut, .at_byte = 123}}});
  const auto result = send_and_flush(*link.source, pattern(1000));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kIo);
  EXPECT_EQ(bytes_until_error(*link.target, Errc::kIo), 123U);
  EXPECT_EQ(link.target->send(pattern(100 << 10)).error().code, Errc::kIo);
}

TEST(FaultyLink, CutWhileReceivingEndsBothDirections) {
  Link link(
      {.faults = {{.kind = FaultKind::kCut, .direction = Direction::kReceive, .at_byte = 9}}});
  ASSERT_TRUE(send_and_flush(*link.target, pattern(50)));
  EXPECT_EQ(bytes_until_error(*link.source, Errc::kIo), 9U);
  EXPECT_EQ(link.source->send(pattern(10)).error().code, Errc::kIo);
  EXPECT_FALSE(link.source->flush());
}

TEST(FaultyLink, TruncateEndsOneDirectionInSilence) {
  Link link({.faults = {{.kind = FaultKind::kTruncate, .at_byte = 10}}});
  ASSERT_TRUE(send_and_flush(*link.source, pattern(50)));
  EXPECT_EQ(bytes_until_error(*link.target, Errc::kIo), 10U);
  ASSERT_TRUE(send_and_flush(*link.target, pattern(3)));
  std::vector<std::byte> back(3);
  EXPECT_TRUE(link.source->receive(MutableBuffer(back)));
}

TEST(FaultyLink, FlipInvertsOneBit) {
  Link link({.faults = {{.kind = FaultKind::kFlip, .at_byte = 17, .amount = 3}}});
  auto data = pattern(64);
  ASSERT_TRUE(send_and_flush(*link.source, data));
  std::vector<std::byte> got(64);
  ASSERT_TRUE(link.target->receive(MutableBuffer(got)));
  data[17] ^= std::byte{8};
  EXPECT_EQ(got, data);
}

TEST(FaultyLink, StallTimesOutAtBothEnds) {
  Link link({.faults = {{.kind = FaultKind::kStall, .at_byte = 4}}});
  link.source->set_timeout(milliseconds(20));
  link.target->set_timeout(milliseconds(20));
  EXPECT_EQ(send_and_flush(*link.source, pattern(8)).error().code, Errc::kTimeout);
  EXPECT_EQ(bytes_until_error(*link.target, Errc::kTimeout), 4U);
}

TEST(FaultyLink, ShutdownEndsAStall) {
  Link link({.faults = {{.kind = FaultKind::kStall, .at_byte = 0}}});
  std::jthread stopper([&] { link.source->shutdown(); });
  EXPECT_EQ(link.source->send(pattern(8)).error().code, Errc::kCancelled);
}

TEST(FaultyLink, AForgottenFlushMovesNothing) {
  Link link({});
  ASSERT_TRUE(link.source->send(pattern(8)));
  EXPECT_FALSE(link.target->wait_readable(milliseconds(1)).value());
  ASSERT_TRUE(link.source->flush());
  EXPECT_TRUE(link.target->wait_readable(seconds(5)).value());
}

TEST(FaultyLink, CutAllIsSeenByBothEnds) {
  FaultyLink link;
  auto source = link.connector().connect(seconds(1)).value();
  auto target = link.acceptor().accept(seconds(1)).value();
  link.cut_all();
  EXPECT_EQ(bytes_until_error(*source, Errc::kIo), 0U);
  EXPECT_EQ(bytes_until_error(*target, Errc::kIo), 0U);
}

TEST(FaultyLink, RefusedConnectionAndCancel) {
  FaultyLink link(std::vector<FaultScript>{{.refuse = true}});
  EXPECT_EQ(link.connector().connect(seconds(1)).error().code, Errc::kIo);
  EXPECT_TRUE(link.connector().connect(seconds(1)));
  link.connector().cancel();
  EXPECT_EQ(link.connector().connect(seconds(1)).error().code, Errc::kCancelled);
  EXPECT_TRUE(link.acceptor().accept(seconds(1)));
  EXPECT_EQ(link.acceptor().accept(milliseconds(5)).error().code, Errc::kTimeout);
  link.acceptor().cancel();
  EXPECT_EQ(link.acceptor().accept(seconds(1)).error().code, Errc::kCancelled);
}

TEST(FaultyLink, TheSameScriptFailsAtTheSameByte) {
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    const auto script = random_script(seed, 2000);
    std::vector<std::vector<std::byte>> arrived;
    for (int run = 0; run < 2; ++run) {
      Link link(script);
      link.source->set_timeout(milliseconds(1));
      link.target->set_timeout(milliseconds(1));
      static_cast<void>(send_and_flush(*link.source, pattern(2000)));
      auto& got = arrived.emplace_back();
      std::byte byte;
      while (link.target->receive(MutableBuffer(&byte, 1))) got.push_back(byte);
    }
    EXPECT_EQ(arrived[0], arrived[1]) << describe(script);
  }
}

}  // namespace
}  // namespace godwit::support
