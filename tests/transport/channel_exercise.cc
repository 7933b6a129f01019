#include "tests/transport/channel_exercise.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/transport/socket_pair.h"

namespace godwit::migration {
namespace {

constexpr size_t kStreamBytes = 24 << 20;

// Mostly small pieces, some of hundreds of KiB.
size_t draw_size(std::mt19937& random, size_t left) {
  const size_t limit = random() % 8 == 0 ? 700'000 : (random() % 2 == 0 ? 64 : 9000);
  return std::min<size_t>(left, random() % limit);
}

Result<> send_stream(Channel& channel, ConstBuffer bytes, uint32_t seed) {
  std::mt19937 random(seed);
  while (!bytes.empty()) {
    std::vector<ConstBuffer> gather(1 + random() % 5);
    for (auto& buffer : gather) {
      buffer = bytes.first(draw_size(random, bytes.size()));
      bytes = bytes.subspan(buffer.size());
    }
    GODWIT_TRY(channel.send(gather));
    if (random() % 16 == 0) GODWIT_TRY(channel.flush());
  }
  return channel.flush();
}

Result<> receive_stream(Channel& channel, MutableBuffer bytes, uint32_t seed) {
  std::mt19937 random(seed);
  while (!bytes.empty()) {
    std::vector<MutableBuffer> scatter(1 + random() % 5);
    for (auto& buffer : scatter) {
      buffer = bytes.first(draw_size(random, bytes.size()));
      bytes = bytes.subspan(buffer.size());
    }
    GODWIT_TRY(channel.receive(scatter));
  }
  return {};
}

void one_way(Channel& from, Channel& to, uint32_t seed) {
  const auto data = random_bytes(kStreamBytes, seed);
  std::vector<std::byte> got(data.size());
  std::jthread sender([&] {
    const auto sent = send_stream(from, data, seed + 1);
    EXPECT_TRUE(sent) << sent.error().message;
  });
  const auto received = receive_stream(to, got, seed + 2);
  EXPECT_TRUE(received) << received.error().message;
  EXPECT_TRUE(got == data) << "seed " << seed;
}

Result<> send_for_ever(Channel& channel) {
  const std::vector<std::byte> data(1 << 20);
  for (int i = 0; i < 4096; ++i) GODWIT_TRY(channel.send(data));
  return {};
}

}  // namespace

void exercise_integrity(Channel& a, Channel& b, uint32_t seed) {
  one_way(a, b, seed);
  one_way(b, a, seed + 100);
}

void exercise_timeouts(Channel& a) {
  std::byte byte{};
  a.set_timeout(std::chrono::milliseconds(50));
  EXPECT_FALSE(a.wait_readable(std::chrono::milliseconds(1)).value());
  const auto sent = send_for_ever(a);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::kTimeout) << sent.error().message;
  EXPECT_NE(sent.error().message.find("sending"), std::string::npos) << sent.error().message;
  EXPECT_EQ(a.send(ConstBuffer(&byte, 1)).error().code, Errc::kTimeout) << "the place is lost";
}

void exercise_shutdown_of_send(Channel& a) {
  a.set_timeout(std::chrono::minutes(5));
  std::jthread stopper([&] {
    // Long enough that the sender blocks, whenever this thread is late or early.
    uint64_t last = ~uint64_t{0};
    while (a.stats().bytes_sent == 0 || a.stats().bytes_sent != last) {
      last = a.stats().bytes_sent;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    a.shutdown();
  });
  const auto sent = send_for_ever(a);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::kCancelled) << sent.error().message;
}

void exercise_shutdown_of_receive(Channel& a) {
  a.set_timeout(std::chrono::minutes(5));
  const uint64_t calls = a.stats().receive_calls;
  std::jthread stopper([&] {
    while (a.stats().receive_calls == calls) std::this_thread::yield();
    a.shutdown();
  });
  std::byte byte;
  const auto received = a.receive(MutableBuffer(&byte, 1));
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Errc::kCancelled) << received.error().message;
}

}  // namespace godwit::migration
