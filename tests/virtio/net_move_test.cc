// A network device whose guest moves: what travels, what is announced, what is lost.
#include <random>
#include <set>
#include <thread>

#include "devices/net/ethernet.h"
#include "tests/devices/state_torture.h"
#include "tests/virtio/net_device_fixture.h"

namespace godwit::devices::virtio {
namespace {

using testing::HasSubstr;

class NetMove : public NetDeviceTest {
 protected:
  static constexpr uint64_t kGuest = kPlain | kNetMrgRxbuf | kNetGuestAnnounce | kNetCtrlMacAddr;
  static constexpr unsigned kRounds = AnnouncePlan{}.rounds;

  static uint16_t type_of(const Bytes& frame) {
    return frame.size() < kVnetHeaderBytes + 14 ? uint16_t{0}
                                                : big_endian_16(frame, kVnetHeaderBytes + 12);
  }
  // An ARP request of the guest's for its own address.
  static Bytes own_arp() {
    const auto frames =
        announcement(kMac, {.ipv4 = {{.vlan = 0, .address = {10, 0, 0, 5}}}, .ipv6 = {}});
    Bytes frame(kVnetHeaderBytes + frames[1].size());
    std::copy(frames[1].begin(), frames[1].end(), frame.begin() + kVnetHeaderBytes);
    return frame;
  }
  // All frames that come within a while, as a set of Ethernet types with their counts.
  std::map<uint16_t, unsigned> heard(int wait_ms) {
    std::map<uint16_t, unsigned> types;
    for (Bytes frame = wire_->receive(0, wait_ms); !frame.empty();
         frame = wire_->receive(0, wait_ms))
      ++types[type_of(frame)];
    return types;
  }
};

TEST_F(NetMove, TheNetworkIsToldInRoundsWhereTheGuestIs) {
  start(kGuest);
  add_frame(0, own_arp());
  driver_->kick(1);
  EXPECT_EQ(wire_->receive(), own_arp());
  ASSERT_EQ(queue(1).wait_used(1).size(), 1u);
  move();
  const auto types = heard(1500);
  EXPECT_EQ(types, (std::map<uint16_t, unsigned>{{kTypeRarp, kRounds}, {kTypeArp, kRounds}}));
  EXPECT_EQ(config_mac(), 0x42'00'00'00'54'52u) << "the source's";
}

TEST_F(NetMove, AddressesOfADriverBeforeAreNotAnnounced) {
  start(kGuest);
  add_frame(0, own_arp());
  driver_->kick(1);
  EXPECT_EQ(wire_->receive(), own_arp());
  driver_->start(kGuest, 3, 64);
  move();
  EXPECT_EQ(type_of(wire_->receive()), kTypeRarp);
  EXPECT_EQ(type_of(wire_->receive()), kTypeRarp) << "of the next round";
}

TEST_F(NetMove, TheGuestIsAskedToAnnounceItselfOnceItRunsHere) {
  start(kGuest);
  move();
  ASSERT_TRUE(host_->msi.wait_for(3, 1));
  EXPECT_EQ(status(), kNetLinkUp | kNetAnnounce);
  move();
  ASSERT_TRUE(host_->msi.wait_for(3, 1)) << "it has not answered yet";
  EXPECT_EQ(command({kNetAnnounceClass, kNetAnnounceAck}), kNetOk);
  EXPECT_EQ(status(), kNetLinkUp);
}

TEST_F(NetMove, ADriverThatCannotAnnounceIsNotAsked) {
  start(kPlain);
  move();
  EXPECT_FALSE(wire_->receive().empty()) << "the network is told all the same";
  EXPECT_EQ(status(), kNetLinkUp);
  EXPECT_EQ(host_->msi.count(3), 0);
}

TEST_F(NetMove, NothingIsSaidWithAnnounceOff) {
  config_.announce = false;
  start(kGuest);
  move();
  EXPECT_TRUE(wire_->receive(0, 100).empty());
  EXPECT_EQ(status(), kNetLinkUp);
}

TEST_F(NetMove, NothingIsSaidBeforeTheGuestRunsHereNorByAGuestThatStays) {
  start(kGuest);
  host_->device.quiesce();
  const auto state = saved(host_->device);
  NetHost target(memory_, wire_, config_);
  ASSERT_TRUE(load_bytes(target.device, state));
  ASSERT_TRUE(load_bytes(target.device, state));
  EXPECT_TRUE(wire_->receive(0, 100).empty());
  host_->device.resume();
  EXPECT_TRUE(wire_->receive(0, 100).empty());
  EXPECT_EQ(status(), kNetLinkUp);
}

TEST_F(NetMove, RoundsThatAPauseCutOffComeAfterIt) {
  start(kGuest);
  move();
  EXPECT_FALSE(wire_->receive().empty());
  host_->device.quiesce();
  heard(0);
  EXPECT_TRUE(wire_->receive(0, 150).empty());
  host_->device.resume();
  EXPECT_GE(heard(1000)[kTypeRarp], 3u);
}

TEST_F(NetMove, AMacThatTheDriverSetMovesWithItsOwn) {
  start(kGuest);
  EXPECT_EQ(command({kNetMacClass, kNetMacSet, 2, 0, 0, 0, 0, 7}), kNetOk);
  move();
  EXPECT_EQ(config_mac(), 0x07'00'00'00'00'02u);
  EXPECT_EQ(host_->net.mac(), (MacAddress{{2, 0, 0, 0, 0, 7}}));
  const Bytes rarp = wire_->receive();
  ASSERT_EQ(type_of(rarp), kTypeRarp);
  EXPECT_EQ(rarp[kVnetHeaderBytes + 11], std::byte{7}) << "as its sender";
  driver_->reset();
  EXPECT_EQ(config_mac(), 0x42'00'00'00'54'52u);
}

TEST_F(NetMove, WhatCameBeforeTheGuestDidIsStale) {
  start(kGuest);
  add_buffers(0, 16, 1526);
  host_->device.quiesce();
  const auto state = saved(host_->device);
  for (uint32_t i = 0; i < 5; ++i) wire_->send(numbered(i));
  NetHost target(memory_, wire_, config_);
  ASSERT_TRUE(load_bytes(target.device, state));
  target.device.resume();
  EXPECT_EQ(wire_->stale, 5);
  wire_->send(numbered(5));
  EXPECT_EQ(number_of(next_frame()), 5u);
}

// Every frame that the guest hands over is sent exactly once, and in order, wherever it is then.
TEST_F(NetMove, NoFrameIsSentTwiceAndNoneThatTheDriverWasToldOfIsLost) {
  config_.announce = false;
  start(kGuest, 1, 256);
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE(seed);
  uint32_t added = 0, heard_of = 0;
  uint16_t outstanding = 0;
  std::atomic<bool> over{false};
  std::vector<uint32_t> heard;
  std::jthread network([&] {
    for (Bytes frame; heard_of < 3000 && !over; ++heard_of) {
      frame = wire_->receive();
      if (frame.empty()) return;
      heard.push_back(number_of(frame));
    }
  });
  while (added < 3000) {
    for (unsigned n = random() % 60; n > 0 && added < 3000 && outstanding < 250;
         --n, ++outstanding) {
      add_frame(static_cast<uint16_t>(added % 256), numbered(added));
      ++added;
    }
    driver_->kick(1);
    if (random() % 4 == 0) ::usleep(random() % 300);
    if (random() % 3 == 0) {
      host_->device.quiesce();
      const size_t told = queue(1).take_used().size();
      outstanding = static_cast<uint16_t>(outstanding - told);
      host_->device.resume();
    } else {
      move();
    }
    if (outstanding > 200)
      outstanding = static_cast<uint16_t>(outstanding - queue(1).wait_used(1).size());
  }
  while (outstanding > 0) {
    const size_t told = queue(1).wait_used(1).size();
    ASSERT_GT(told, 0u);
    outstanding = static_cast<uint16_t>(outstanding - told);
  }
  network.join();
  ASSERT_EQ(heard.size(), 3000u);
  for (uint32_t i = 0; i < 3000; ++i) ASSERT_EQ(heard[i], i);
}

// Frames for a guest on the move may be lost, but none comes twice, changed or out of order.
TEST_F(NetMove, FramesThatComeUnderWayAreWholeOrLost) {
  config_.announce = false;
  start(kGuest, 1, 64);
  for (uint16_t i = 0; i < 64; ++i) add_buffer(i, 1526);
  driver_->kick(0);
  std::jthread network([&](const std::stop_token& stop) {
    for (uint32_t i = 1; !stop.stop_requested(); ++i) {
      const Bytes frame = numbered(i, 60 + kVnetHeaderBytes + i * 37 % 6000);
      // A full wire drops, as a network does.
      (void)wire_->try_send(frame);
      ::usleep(20);
    }
  });
  uint32_t latest = 0, frames = 0;
  std::deque<Used> used;
  for (int round = 0; round < 60; ++round) {
    for (const Used& one : queue(0).wait_used(4)) used.push_back(one);
    if (round % 3 == 0) move();
    for (const Used& one : queue(0).take_used()) used.push_back(one);
    while (!used.empty()) {
      Bytes frame;
      unsigned left = 1;
      for (bool first = true; left > 0; --left, first = false) {
        ASSERT_FALSE(used.empty()) << "a frame comes with all of its buffers";
        const Gpa at = kRx + uint64_t{used.front().head} * kStride;
        const Bytes part = bytes_at(at, used.front().written);
        if (first) left = std::to_integer<unsigned>(part[kNumBuffersOffset]);
        frame.insert(frame.end(), part.begin(), part.end());
        add_buffer(used.front().head, 1526);
        used.pop_front();
      }
      const uint32_t number = number_of(frame);
      ASSERT_GT(number, latest);
      const auto buffers = static_cast<uint16_t>((frame.size() + 1525) / 1526);
      ASSERT_EQ(frame, with_buffers(numbered(number, frame.size()), buffers));
      ASSERT_EQ(frame.size(), 60 + kVnetHeaderBytes + number * 37 % 6000);
      latest = number;
      ++frames;
    }
    driver_->kick(0);
  }
  EXPECT_GT(frames, 100u);
}

TEST_F(NetMove, RefusesAGuestThatUsesMoreThanThereIs) {
  start(kGuest | kNetGuestCsum | kNetGuestTso4);
  host_->device.quiesce();
  const auto state = saved(host_->device);
  NetHost target(memory_, wire_, config_, kMac, NetOffloads{});
  const auto loaded = load_bytes(target.device, state);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::kIncompatible);
  EXPECT_THAT(loaded.error().message, HasSubstr("virtio-net #0: the guest uses features"));
}

TEST_F(NetMove, StandsAnyState) {
  start(kGuest | kNetGuestCsum | kNetGuestTso4 | kNetCtrlGuestOffloads | kNetMq, 2, 16);
  add_buffers(0, 3, 1526);
  add_frame(0, own_arp());
  driver_->kick(1);
  ASSERT_EQ(queue(1).wait_used(1).size(), 1u);
  ASSERT_EQ(command({kNetMqClass, kNetMqPairsSet, 2, 0}, 4), kNetOk);
  host_->device.quiesce();
  struct Fixture {
    Fixture(const std::shared_ptr<vmm::GuestMemory>& memory, const NetConfig& config)
        : host(memory, std::make_shared<Wire>(2), config) {}
    NetHost host;
    PciDevice& device = host.device;
  };
  torture_state(saved(host_->device), [&] { return std::make_unique<Fixture>(memory_, config_); });
}

}  // namespace
}  // namespace godwit::devices::virtio
