// A network device on a real tap.
#include "devices/net/tap_backend.h"
#include "tests/net/network_fixture.h"
#include "tests/net/packets.h"
#include "tests/virtio/net_device_fixture.h"

namespace godwit::devices::virtio {
namespace {

using devices::Bytes;
using testing::HasSubstr;

class NetTap : public NetworkTest {
 protected:
  static constexpr Gpa kRx{4 << 20};
  static constexpr Gpa kTx{8 << 20};

  void start(std::string_view options, uint64_t features, uint16_t queues = 3) {
    auto ports = open_net_ports({parse_net(options, "net0").value()});
    ASSERT_TRUE(ports) << ports.error().message;
    host_ = std::make_unique<NetHost>(memory_, ports->front());
    start_driver(features, queues);
  }
  void start_driver(uint64_t features, uint16_t queues = 3) {
    driver_.emplace(host_->device, *memory_);
    host_->device.resume();
    driver_->start(features | kEventIdx | kIndirect | kNetCtrlVq, queues, 64);
    ASSERT_EQ(driver_->status() & kNeedsReset, 0);
  }
  void add_buffers(uint16_t first, uint16_t count, uint32_t bytes) {
    for (uint16_t n = first; n < first + count; ++n)
      driver_->queue(0).add({{kRx + n * 65536u, bytes, true}}, n);
    driver_->kick(0);
  }
  void guest_sends(const Bytes& header, const Bytes& frame) {
    ASSERT_TRUE(memory_->write(kTx, header));
    ASSERT_TRUE(memory_->write(kTx + 4096, frame));
    driver_->queue(1).add({{kTx, static_cast<uint32_t>(header.size())},
                           {kTx + 4096, static_cast<uint32_t>(frame.size())}},
                          0);
    driver_->kick(1);
    ASSERT_EQ(driver_->queue(1).wait_used(1).size(), 1u);
  }
  // The next frame for the guest, without its header.
  Bytes guest_receives() {
    Bytes frame;
    unsigned left = 1;
    for (bool first = true; left > 0; --left, first = false) {
      while (used_.empty()) {
        for (const Used& one : driver_->queue(0).wait_used(1)) used_.push_back(one);
        if (used_.empty()) return {};
      }
      Bytes part(used_.front().written);
      EXPECT_TRUE(memory_->read(kRx + used_.front().head * 65536u, part));
      if (first) left = std::to_integer<unsigned>(part[kNumBuffersOffset]);
      frame.insert(frame.end(), part.begin(), part.end());
      used_.pop_front();
    }
    return without_header(frame);
  }

  std::shared_ptr<vmm::GuestMemory> memory_ = *vmm::GuestMemory::create({.size = 16_MiB});
  std::unique_ptr<NetHost> host_;
  std::optional<Driver> driver_;
  std::deque<Used> used_;
};

TEST_F(NetTap, FramesGoBothWays) {
  for (const uint64_t features : {uint64_t{0}, kNetMrgRxbuf}) {
    start("tap=t0,create=on", features);
    PacketSocket host("t0");
    add_buffers(0, 50, 1526);
    for (uint16_t i = 0; i < 50; ++i) {
      guest_sends(Bytes(kVnetHeaderBytes), numbered_frame(i));
      EXPECT_EQ(host.receive(kExperimentalType), numbered_frame(i));
      host.send(numbered_frame(i));
      EXPECT_EQ(guest_receives(), numbered_frame(i));
    }
    const NetCounters counters = host_->net.backend().counters();
    EXPECT_EQ(counters.sent_frames, 50u);
    EXPECT_EQ(counters.received_frames, 50u);
    host_.reset();
  }
}

TEST_F(NetTap, ALongFrameIsReadAcrossBuffers) {
  start("tap=t0,create=on,mtu=9000", kNetMrgRxbuf | kNetMtu);
  EXPECT_EQ(driver_->read_device(kNetConfigMtu, 2), 9000u);
  PacketSocket host("t0");
  add_buffers(0, 20, 1526);
  Bytes frame = numbered_frame(7);
  frame.resize(9000);
  for (size_t i = 60; i < frame.size(); ++i) frame[i] = std::byte(i);
  for (int i = 0; i < 2; ++i) {
    host.send(frame);
    EXPECT_EQ(guest_receives(), frame);
  }
}

TEST_F(NetTap, LyingHeadersAreTheKernelsToRefuse) {
  start("tap=t0,create=on", kNetCsum | kNetHostTso4);
  for (unsigned seed = 0; seed < 200; ++seed) {
    Bytes header(kVnetHeaderBytes);
    for (size_t i = 0; i < header.size(); ++i) header[i] = std::byte(seed * (i + 7) * 31);
    guest_sends(header, numbered_frame(static_cast<uint16_t>(seed)));
  }
  EXPECT_EQ(driver_->status() & kNeedsReset, 0);
  const NetCounters counters = host_->net.backend().counters();
  EXPECT_GT(counters.dropped_malformed, 0u);
  EXPECT_EQ(counters.sent_frames + counters.dropped_malformed, 200u);
}

TEST_F(NetTap, TwoDevicesCannotShareATap) {
  ip("tuntap add dev t0 mode tap");
  start("tap=t0", 0);
  const auto second = open_net_ports({parse_net("tap=t0", "net0").value()});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("busy"));
  host_.reset();
  EXPECT_TRUE(open_net_ports({parse_net("tap=t0", "net0").value()}));
}

// As when a guest reboots: the interface stays up, and what the guest is called.
TEST_F(NetTap, TheNextDeviceHasTheSameInterface) {
  start("tap=t0,create=on,queues=2", kNetMq | kNetMrgRxbuf, 5);
  PacketSocket host("t0");
  NetPort port = host_->net.port();
  const MacAddress mac = host_->net.mac();
  EXPECT_EQ(port.mac, mac);
  host_.reset();
  ASSERT_TRUE(exists("t0"));
  host.send(numbered_frame(1));
  host_ = std::make_unique<NetHost>(memory_, std::move(port));
  EXPECT_EQ(host_->net.mac(), mac);
  start_driver(kNetMq, 5);
  add_buffers(0, 8, 1526);
  host.send(numbered_frame(2));
  EXPECT_EQ(guest_receives(), numbered_frame(2)) << "the other one was for the guest before";
}

TEST_F(NetTap, IdsAreUnique) {
  const auto config = parse_net("tap=t0,create=on,id=a", "net0").value();
  const auto ports = open_net_ports({config, config});
  ASSERT_FALSE(ports);
  EXPECT_THAT(ports.error().message, HasSubstr("two network interfaces have the id a"));
}

}  // namespace
}  // namespace godwit::devices::virtio
