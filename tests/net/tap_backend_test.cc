#include "devices/net/tap_backend.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <set>
#include <thread>

#include "devices/net/ethernet.h"
#include "tests/net/network_fixture.h"
#include "tests/net/packets.h"
#include "vmm/base/syscall.h"

namespace godwit::devices {
namespace {

using testing::IsEmpty;

constexpr NetOffloads kTcpOffloads = {.checksum = true, .tso4 = true, .tso6 = true, .ecn = true};

class Tap : public NetworkTest {
 protected:
  static std::unique_ptr<NetBackend> open(std::string_view options) {
    return TapBackend::open(parse_net(options, "net0").value()).value();
  }
  static std::unique_ptr<NetBackend> running(std::string_view options) {
    auto backend = open(options);
    backend->resume(QueuedFrames::kKeep);
    return backend;
  }
};

TEST_F(Tap, FramesGoBothWays) {
  const auto backend = running("tap=t0,create=on");
  PacketSocket host("t0");
  for (uint16_t i = 0; i < 50; ++i) {
    ASSERT_EQ(guest_sends(*backend, 0, numbered_frame(i)), NetResult::kDone);
    EXPECT_EQ(host.receive(kExperimentalType), numbered_frame(i));
    host.send(numbered_frame(i));
    EXPECT_EQ(without_header(guest_receives(*backend, kExperimentalType)), numbered_frame(i));
  }
  const NetCounters counters = backend->counters();
  EXPECT_EQ(counters.sent_frames, 50u);
  EXPECT_EQ(counters.sent_bytes, 50u * 60);
  EXPECT_EQ(counters.received_frames, 50u);
  EXPECT_EQ(counters.received_bytes, 50u * 60);
}

TEST_F(Tap, NothingMovesWhileQuiesced) {
  const auto backend = open("tap=t0,create=on");
  PacketSocket host("t0");
  host.send(numbered_frame(1));
  EXPECT_EQ(guest_sends(*backend, 0, numbered_frame(2)), NetResult::kNotNow);
  EXPECT_THAT(guest_receives(*backend, kExperimentalType, false), IsEmpty());
  EXPECT_THAT(host.receive(kExperimentalType, false), IsEmpty());
  backend->resume(QueuedFrames::kKeep);
  EXPECT_EQ(without_header(guest_receives(*backend, kExperimentalType)), numbered_frame(1));
  backend->quiesce();
  backend->quiesce();
  host.send(numbered_frame(3));
  EXPECT_THAT(guest_receives(*backend, kExperimentalType, false), IsEmpty());
}

TEST_F(Tap, AGuestFromElsewhereGetsNoStaleFrames) {
  const auto backend = open("tap=t0,create=on");
  PacketSocket host("t0");
  for (uint16_t i = 0; i < 200; ++i) host.send(numbered_frame(i));
  backend->resume(QueuedFrames::kDrop);
  EXPECT_EQ(backend->counters().dropped_stale, 200u);
  host.send(numbered_frame(1000));
  EXPECT_EQ(without_header(guest_receives(*backend, kExperimentalType)), numbered_frame(1000));
  // A second one is no take-over any more.
  host.send(numbered_frame(1001));
  backend->resume(QueuedFrames::kDrop);
  EXPECT_EQ(without_header(guest_receives(*backend, kExperimentalType)), numbered_frame(1001));
}

TEST_F(Tap, AFrameLongerThanTheBuffersIsDroppedNotCut) {
  const auto backend = running("tap=t0,create=on");
  PacketSocket host("t0");
  const auto receive_into = [&](size_t bytes) {
    host.send(numbered_frame(7));
    Bytes buffer(bytes);
    const iovec piece = {buffer.data(), buffer.size()};
    return backend->receive(0, std::span(&piece, 1));
  };
  EXPECT_EQ(receive_into(71).result, NetResult::kDropped);
  EXPECT_EQ(receive_into(5).result, NetResult::kDropped) << "not even the header";
  EXPECT_EQ(backend->counters().dropped_too_long, 2u);
  const NetReceived whole = receive_into(72);
  EXPECT_EQ(whole.result, NetResult::kDone);
  EXPECT_EQ(whole.bytes, 72u);
}

TEST_F(Tap, MalformedFramesAreDroppedAndCounted) {
  const auto backend = running("tap=t0,create=on");
  EXPECT_EQ(backend->send(0, {}), NetResult::kDropped);
  EXPECT_EQ(guest_sends(*backend, 0, Bytes(13)), NetResult::kDropped);
  EXPECT_EQ(guest_sends(*backend, 0, Bytes(kMaxNetFrameBytes)), NetResult::kDropped);
  Bytes header(kVnetHeaderBytes, std::byte{0xff});
  EXPECT_EQ(guest_sends(*backend, 0, numbered_frame(1), header), NetResult::kDropped);
  std::byte zeros[100] = {};
  const std::vector<iovec> many(2000, iovec{zeros, 1});
  EXPECT_EQ(backend->send(0, many), NetResult::kDropped);
  EXPECT_EQ(backend->counters().dropped_malformed, 5u);
  EXPECT_EQ(backend->counters().sent_frames, 0u);
}

TEST_F(Tap, AnInterfaceThatIsDownOrGoneHoldsNobodyUp) {
  ip("tuntap add dev t0 mode tap");
  const auto backend = running("tap=t0");
  EXPECT_EQ(guest_sends(*backend, 0, numbered_frame(1)), NetResult::kDropped);
  EXPECT_EQ(backend->counters().dropped_link_down, 1u);
  EXPECT_THAT(guest_receives(*backend, kExperimentalType, false), IsEmpty());
  ip("link set t0 up");
  EXPECT_EQ(guest_sends(*backend, 0, numbered_frame(2)), NetResult::kDone);
  ip("link delete t0");
  EXPECT_EQ(guest_sends(*backend, 0, numbered_frame(3)), NetResult::kGone);
  std::byte byte;
  const iovec piece = {&byte, 1};
  EXPECT_EQ(backend->receive(0, std::span(&piece, 1)).result, NetResult::kGone);
  EXPECT_EQ(backend->set_guest_offloads({}), NetOffloads{});
}

TEST_F(Tap, OffloadsAreThoseOfTheHostThatTheGuestTakes) {
  const auto backend = open("tap=t0,create=on");
  const NetOffloads host = backend->offloads();
  EXPECT_EQ(host & kTcpOffloads, kTcpOffloads);
  EXPECT_EQ(backend->set_guest_offloads(kTcpOffloads), kTcpOffloads);
  EXPECT_EQ(backend->set_guest_offloads({.checksum = true, .ecn = true}),
            NetOffloads{.checksum = true});
  EXPECT_EQ(backend->set_guest_offloads({.tso4 = true}), NetOffloads{}) << "needs checksum";
  EXPECT_EQ(backend->set_guest_offloads(host), host);
  const auto plain = open("tap=t1,create=on,offload=off");
  EXPECT_EQ(plain->offloads(), NetOffloads{});
  EXPECT_EQ(plain->set_guest_offloads(kTcpOffloads), NetOffloads{});
}

class TapWithHost : public Tap {
 protected:
  void SetUp() override {
    Tap::SetUp();
    if (IsSkipped()) return;
    backend = running("tap=t0,create=on");
    ip("address add 10.7.0.1/24 dev t0");
    ip(fmt::format("link set t0 address {}", to_string(kHostMac)));
    ip(fmt::format("neighbour replace 10.7.0.2 lladdr {} dev t0", to_string(kGuestMac)));
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(kUdpPort)};
    address.sin_addr.s_addr = htonl(kHostAddress);
    const timeval limit{5, 0};
    socket.reset(check_syscall(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
    check_syscall(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "opt");
    check_syscall(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
                  "bind");
  }
  void host_sends(uint16_t port) {
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(kGuestAddress);
    check_syscall(::sendto(socket.get(), "hello", 5, 0, reinterpret_cast<const sockaddr*>(&address),
                           sizeof address),
                  "sendto");
  }
  std::string host_receives(int flags = 0) {
    char buffer[100];
    const ssize_t n = ::recv(socket.get(), buffer, sizeof buffer, flags);
    return n < 0 ? "(nothing)" : std::string(buffer, static_cast<size_t>(n));
  }
  std::unique_ptr<NetBackend> backend;
  UniqueFd socket;
};

TEST_F(TapWithHost, AGuestMayLeaveChecksumsToTheHost) {
  const Bytes frame = udp_to_host("left to you");
  ASSERT_EQ(guest_sends(*backend, 0, frame), NetResult::kDone);  // not said: a wrong checksum
  ASSERT_EQ(guest_sends(*backend, 0, udp_to_host("right"), checksum_header()), NetResult::kDone);
  EXPECT_EQ(host_receives(), "right");
  EXPECT_EQ(host_receives(MSG_DONTWAIT), "(nothing)");
}

TEST_F(TapWithHost, TheHostLeavesChecksumsToAGuestThatTakesThem) {
  host_sends(9);
  const Bytes complete = guest_receives(*backend, kTypeIpv4);
  ASSERT_EQ(complete.size(), kVnetHeaderBytes + 14 + 20 + 8 + 5);
  EXPECT_EQ(complete[0], std::byte{0});
  EXPECT_TRUE(l4_checksum_is_right(without_header(complete)));

  backend->set_guest_offloads({.checksum = true});
  host_sends(9);
  const Bytes partial = guest_receives(*backend, kTypeIpv4);
  ASSERT_EQ(partial.size(), complete.size());
  EXPECT_EQ(partial[0], std::byte{1}) << "VIRTIO_NET_HDR_F_NEEDS_CSUM";
  EXPECT_EQ(partial[6], std::byte{34}) << "csum_start, little-endian";
  EXPECT_EQ(partial[7], std::byte{0});
  EXPECT_EQ(partial[8], std::byte{6}) << "csum_offset";
  EXPECT_FALSE(l4_checksum_is_right(without_header(partial)));
}

class TapQueues : public TapWithHost {
 protected:
  static constexpr size_t kFlows = 64;
  // Which queue pairs frames of many flows came in.
  std::set<size_t> used_queues() {
    std::set<size_t> used;
    for (uint16_t port = 1000; port < 1000 + kFlows; ++port) host_sends(port);
    size_t frames = 0;
    for (size_t pair = 0; pair < mq->queue_pairs(); ++pair) {
      while (true) {
        Bytes buffer(2000);
        const iovec piece = {buffer.data(), buffer.size()};
        if (mq->receive(pair, std::span(&piece, 1)).result != NetResult::kDone) break;
        if (big_endian_16(buffer, kVnetHeaderBytes + 12) != kTypeIpv4) continue;
        used.insert(pair);
        ++frames;
      }
    }
    EXPECT_EQ(frames, kFlows);
    return used;
  }
  void SetUp() override {
    TapWithHost::SetUp();
    if (IsSkipped()) return;
    backend.reset();
    mq = running("tap=t1,create=on,queues=4");
    ip("address add 10.7.0.1/24 dev t1");
    ip(fmt::format("neighbour replace 10.7.0.2 lladdr {} dev t1", to_string(kGuestMac)));
  }
  std::unique_ptr<NetBackend> mq;
};

TEST_F(TapQueues, FramesComeInActiveQueuesOnly) {
  EXPECT_EQ(used_queues(), std::set<size_t>{0});
  ASSERT_TRUE(mq->set_active_pairs(4));
  EXPECT_GT(used_queues().size(), 1u);
  ASSERT_TRUE(mq->set_active_pairs(2));
  for (const size_t pair : used_queues()) EXPECT_LT(pair, 2u);
  ASSERT_TRUE(mq->set_active_pairs(1));
  EXPECT_EQ(used_queues(), std::set<size_t>{0});
}

TEST_F(TapQueues, AGuestThatUsesAnInactiveQueueLosesItsFramesOnly) {
  EXPECT_EQ(guest_sends(*mq, 3, numbered_frame(1)), NetResult::kDropped);
  EXPECT_EQ(mq->counters().dropped_inactive_queue, 1u);
  std::byte byte;
  const iovec piece = {&byte, 1};
  EXPECT_EQ(mq->receive(3, std::span(&piece, 1)).result, NetResult::kNotNow);
  PacketSocket host("t1");
  ASSERT_TRUE(mq->set_active_pairs(4));
  EXPECT_EQ(guest_sends(*mq, 3, numbered_frame(2)), NetResult::kDone);
  EXPECT_EQ(host.receive(kExperimentalType), numbered_frame(2));
}

// Sends and receives in all queues while they come and go.
TEST_F(TapQueues, QueuesMaySwitchWhileFramesMove) {
  std::atomic<bool> stop = false;
  std::atomic<size_t> gone = 0;
  {
    std::vector<std::jthread> guests;
    for (size_t pair = 0; pair < mq->queue_pairs(); ++pair) {
      guests.emplace_back([&, pair] {
        Bytes buffer(2000);
        const iovec piece = {buffer.data(), buffer.size()};
        while (!stop) {
          gone += guest_sends(*mq, pair, numbered_frame(1)) == NetResult::kGone ? 1 : 0;
          gone += mq->receive(pair, std::span(&piece, 1)).result == NetResult::kGone ? 1 : 0;
        }
      });
    }
    for (size_t i = 0; i < 100; ++i) EXPECT_TRUE(mq->set_active_pairs(1 + i % 4));
    stop = true;
  }
  EXPECT_EQ(gone, 0u);
}

}  // namespace
}  // namespace godwit::devices
