// Guests on taps that are ports of a bridge: what one sends, and where the bridge takes it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>

#include "devices/net/announcer.h"
#include "devices/net/ethernet.h"
#include "devices/net/tap_backend.h"
#include "tests/net/network_fixture.h"
#include "tests/net/packets.h"

namespace godwit::devices {
namespace {

constexpr MacAddress kClientMac = {{0x52, 0x54, 0, 0, 0, 9}};

class Bridge : public NetworkTest {
 protected:
  void SetUp() override {
    NetworkTest::SetUp();
    if (IsSkipped()) return;
    if (!try_ip("link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0"))
      GTEST_SKIP() << "this kernel has no bridges";
    ip("link set br0 up");
    source = add_port("source");
    target = add_port("target");
    client = add_port("client");
    for (NetBackend* port : {source.get(), target.get()}) wait_until_forwarding(*port);
  }

  static std::unique_ptr<NetBackend> add_port(const std::string& name) {
    auto port = TapBackend::open(parse_net(fmt::format("tap={},create=on", name), name).value());
    ip(fmt::format("link set {} master br0", name));
    (*port)->resume(QueuedFrames::kKeep);
    return std::move(*port);
  }
  // The bridge hears of a port's carrier in its own time.
  void wait_until_forwarding(NetBackend& port) {
    for (int attempt = 0; attempt < 1000; ++attempt) {
      guest_sends(*client, 0, numbered_frame(0));
      pollfd set{port.poll_fd(0), POLLIN, 0};
      ::poll(&set, 1, 10);
      while (true) {
        const Bytes frame = guest_receives(port, kExperimentalType, false);
        if (!frame.empty()) return;
        if (::poll(&set, 1, 0) == 0) break;
      }
    }
    FAIL() << port.host_name() << " gets nothing";
  }
  static void drain(NetBackend& port) {
    while (!guest_receives(port, kExperimentalType, false).empty()) {
    }
  }

  static Bytes frame_to(MacAddress to, MacAddress from, uint16_t number) {
    Bytes frame = numbered_frame(number);
    std::ranges::copy(std::as_bytes(std::span(to.bytes)), frame.begin());
    std::ranges::copy(std::as_bytes(std::span(from.bytes)), frame.begin() + 6);
    return frame;
  }
  // Which port gets what the client sends to the guest.
  std::string port_of_the_guest() {
    for (NetBackend* port : {source.get(), target.get()}) drain(*port);
    const Bytes frame = frame_to(kGuestMac, kClientMac, ++number_);
    // What is sent to all comes to all, and behind it.
    const Bytes mark = frame_to(kBroadcastMac, kClientMac, ++number_);
    guest_sends(*client, 0, frame);
    guest_sends(*client, 0, mark);
    std::string ports;
    for (NetBackend* port : {source.get(), target.get()}) {
      Bytes got = without_header(guest_receives(*port, kExperimentalType));
      if (got == frame) {
        ports += port->host_name() + " ";
        got = without_header(guest_receives(*port, kExperimentalType));
      }
      EXPECT_EQ(got, mark) << port->host_name();
    }
    return ports;
  }

  std::unique_ptr<NetBackend> source, target, client;

 private:
  uint16_t number_ = 100;
};

TEST_F(Bridge, LearnsTheGuestsNewPortFromTheAnnouncement) {
  EXPECT_EQ(port_of_the_guest(), "source target ") << "unknown: flooded";
  guest_sends(*source, 0, frame_to(kBroadcastMac, kGuestMac, 1));
  EXPECT_EQ(port_of_the_guest(), "source ");
  source->quiesce();
  target->resume(QueuedFrames::kKeep);
  source->resume(QueuedFrames::kKeep);
  EXPECT_EQ(port_of_the_guest(), "source ") << "nothing told the bridge";
  EXPECT_EQ(send_announcement(*target, kGuestMac, {}), 1u);
  EXPECT_EQ(port_of_the_guest(), "target ");
}

TEST_F(Bridge, NeighboursSeeEachAnnouncedAddress) {
  AddressBook neighbour(kGuestMac);
  const AddressList addresses = {
      .ipv4 = {{0, {10, 7, 0, 2}}, {0, {10, 7, 0, 3}}},
      .ipv6 = {{0, {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, true}}};
  EXPECT_EQ(send_announcement(*target, kGuestMac, addresses), 4u);
  EXPECT_EQ(guest_receives(*client, kTypeRarp).size(), kVnetHeaderBytes + kLeastEthernetBytes);
  for (int i = 0; i < 2; ++i)
    neighbour.guest_sent(without_header(guest_receives(*client, kTypeArp)));
  for (int i = 0; i < 20 && neighbour.list().ipv6.empty(); ++i)
    neighbour.guest_sent(without_header(guest_receives(*client, kTypeIpv6)));
  EXPECT_EQ(neighbour.list(), addresses);
}

TEST_F(Bridge, SegmentsWhatTheOtherGuestDoesNotTakeWhole) {
  constexpr size_t kBytes = 20'000, kSegment = 1400;
  const Bytes large = tcp_frame(kClientMac, kBytes);
  guest_sends(*client, 0, frame_to(kBroadcastMac, kClientMac, 1));

  client->set_guest_offloads({.checksum = true, .tso4 = true});
  ASSERT_EQ(guest_sends(*source, 0, large, tso_header(kSegment)), NetResult::kDone);
  const Bytes whole = guest_receives(*client, kTypeIpv4);
  ASSERT_EQ(whole.size(), kVnetHeaderBytes + large.size());
  EXPECT_EQ(whole[1], std::byte{1}) << "VIRTIO_NET_HDR_GSO_TCPV4";
  EXPECT_EQ(whole[4], std::byte{kSegment & 0xff}) << "gso_size, little-endian";
  EXPECT_EQ(whole[5], std::byte{kSegment >> 8});
  EXPECT_EQ(without_header(whole), large);

  client->set_guest_offloads({});
  ASSERT_EQ(guest_sends(*source, 0, large, tso_header(kSegment)), NetResult::kDone);
  Bytes data;
  for (size_t i = 0; i < (kBytes + kSegment - 1) / kSegment; ++i) {
    const Bytes segment = guest_receives(*client, kTypeIpv4);
    ASSERT_GT(segment.size(), kVnetHeaderBytes + kTcpDataOffset);
    ASSERT_LE(segment.size(), kVnetHeaderBytes + kTcpDataOffset + kSegment);
    EXPECT_EQ(segment[0], std::byte{0});
    EXPECT_EQ(segment[1], std::byte{0});
    const Bytes frame = without_header(segment);
    EXPECT_TRUE(l4_checksum_is_right(frame)) << i;
    data.insert(data.end(), frame.begin() + kTcpDataOffset, frame.end());
  }
  EXPECT_EQ(data, Bytes(large.begin() + kTcpDataOffset, large.end()));
}

}  // namespace
}  // namespace godwit::devices
