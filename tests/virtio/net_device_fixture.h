// A network device and its driver on a wire.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "devices/virtio/net.h"
#include "devices/virtio/net_spec.h"
#include "devices/virtio/pci_layout.h"
#include "tests/devices/fakes.h"
#include "tests/virtio/driver.h"
#include "tests/virtio/net_wire.h"

namespace godwit::devices::virtio {

inline constexpr MacAddress kMac = {{0x52, 0x54, 0, 0, 0, 0x42}};

struct NetHost {
  NetHost(std::shared_ptr<vmm::GuestMemory> m, const std::shared_ptr<Wire>& wire,
          const NetConfig& config, MacAddress mac = kMac, NetOffloads offloads = kAllOffloads)
      : NetHost(std::move(m), NetPort{config, mac, std::make_shared<WireBackend>(wire, offloads)}) {
  }
  NetHost(std::shared_ptr<vmm::GuestMemory> m, NetPort port)
      : NetHost(std::move(m), std::make_unique<Net>(std::move(port))) {}
  NetHost(std::shared_ptr<vmm::GuestMemory> m, std::unique_ptr<Net> model)
      : memory(std::move(m)),
        net(*model),
        device(std::move(model), PciPlace{.slot = 1}, *memory, msi, doorbells) {}
  std::shared_ptr<vmm::GuestMemory> memory;
  FakeMsi msi;
  FakeDoorbells doorbells;
  Net& net;
  PciDevice device;
};

// A frame with its vnet header, of a type that no address book looks at.
inline Bytes numbered(uint32_t number, size_t bytes = kVnetHeaderBytes + 60) {
  Bytes frame(bytes);
  for (size_t i = kVnetHeaderBytes; i < bytes; ++i) frame[i] = std::byte(i * 7 + number);
  frame[kVnetHeaderBytes + 12] = std::byte{0x88};
  frame[kVnetHeaderBytes + 13] = std::byte{0xb5};
  std::memcpy(frame.data() + kVnetHeaderBytes + 14, &number, sizeof number);
  return frame;
}
inline uint32_t number_of(const Bytes& frame) {
  uint32_t number = ~0u;
  if (frame.size() >= kVnetHeaderBytes + 18)
    std::memcpy(&number, frame.data() + kVnetHeaderBytes + 14, sizeof number);
  return number;
}
// As the driver sees it.
inline Bytes with_buffers(Bytes frame, uint16_t num_buffers) {
  frame[kNumBuffersOffset] = std::byte(num_buffers & 0xff);
  frame[kNumBuffersOffset + 1] = std::byte(num_buffers >> 8);
  return frame;
}

class NetDeviceTest : public testing::Test {
 protected:
  static constexpr Gpa kRx{4 << 20};
  static constexpr Gpa kTx{8 << 20};
  static constexpr Gpa kCommand{12 << 20};
  static constexpr uint32_t kStride = 4096;
  static constexpr uint64_t kPlain = kEventIdx | kIndirect | kNetMac | kNetStatus | kNetCtrlVq;

  static std::shared_ptr<vmm::GuestMemory> make_memory() {
    return *vmm::GuestMemory::create({.size = 16_MiB});
  }
  void make(size_t pairs = 1) {
    config_.id = "net0";
    wire_ = std::make_shared<Wire>(pairs);
    host_ = std::make_unique<NetHost>(memory_, wire_, config_);
    driver_.emplace(host_->device, *memory_);
  }
  void start(uint64_t features = kPlain | kNetMrgRxbuf, size_t pairs = 1, uint16_t size = 64) {
    make(pairs);
    host_->device.resume();
    const bool multi = (features & kNetMq) != 0;
    driver_->start(features, static_cast<uint16_t>(multi ? 2 * pairs + 1 : 3), size);
    ASSERT_EQ(driver_->status() & (kDriverOk | kNeedsReset), kDriverOk);
  }
  // To another host on the same wire.
  void move() {
    host_->device.quiesce();
    const auto state = saved(host_->device);
    host_.reset();  // as it goes it resets the wire, which the next one has too
    auto next = std::make_unique<NetHost>(memory_, wire_, config_, MacAddress{{2, 0, 0, 0, 0, 9}});
    ASSERT_TRUE(load_bytes(next->device, state)) << "rehearsal";
    const auto loaded = load_bytes(next->device, state);
    ASSERT_TRUE(loaded) << loaded.error().message;
    Driver moved(std::move(*driver_), next->device);
    driver_ = std::move(moved);
    next->device.resume();
    host_ = std::move(next);
  }

  DriverQueue& queue(uint16_t index) { return driver_->queue(index); }
  // Buffer n of `bytes`, at kRx + n * kStride, with descriptor n.
  void add_buffer(uint16_t n, uint32_t bytes, uint16_t pair = 0) {
    queue(static_cast<uint16_t>(2 * pair)).add({{kRx + uint64_t{n} * kStride, bytes, true}}, n);
  }
  void add_buffers(uint16_t first, uint16_t count, uint32_t bytes, uint16_t pair = 0) {
    for (uint16_t i = 0; i < count; ++i) add_buffer(static_cast<uint16_t>(first + i), bytes, pair);
    driver_->kick(static_cast<uint16_t>(2 * pair));
  }
  void add_frame(uint16_t n, const Bytes& frame, uint16_t pair = 0) {
    const Gpa at = kTx + uint64_t{n} * kStride;
    ASSERT_TRUE(memory_->write(at, frame));
    queue(static_cast<uint16_t>(2 * pair + 1)).add({{at, static_cast<uint32_t>(frame.size())}}, n);
  }
  Bytes bytes_at(Gpa gpa, size_t size) {
    Bytes bytes(size);
    EXPECT_TRUE(memory_->read(gpa, bytes));
    return bytes;
  }
  // The next frame that comes, out of one buffer of add_buffer() or several.
  Bytes next_frame(uint16_t pair = 0) {
    Bytes frame;
    for (unsigned left = 1; left > 0; --left) {
      if (used_.empty()) {
        for (const Used& one : queue(static_cast<uint16_t>(2 * pair)).wait_used(1))
          used_.push_back(one);
      }
      if (used_.empty()) return {};
      const Bytes part =
          bytes_at(kRx + uint64_t{used_.front().head} * kStride, used_.front().written);
      if (frame.empty() && part.size() > kNumBuffersOffset + 1)
        left = std::to_integer<unsigned>(part[kNumBuffersOffset]) |
               std::to_integer<unsigned>(part[kNumBuffersOffset + 1]) << 8;
      frame.insert(frame.end(), part.begin(), part.end());
      used_.pop_front();
    }
    return frame;
  }
  // A command of the control queue: its answer, or 0xee.
  unsigned command(std::initializer_list<unsigned> bytes, uint16_t control = 2) {
    Bytes data;
    for (const unsigned byte : bytes) data.push_back(std::byte(byte));
    EXPECT_TRUE(memory_->write(kCommand, data));
    const Gpa answer = kCommand + 100;
    const std::byte none{0xee};
    EXPECT_TRUE(memory_->write(answer, {&none, 1}));
    queue(control).add({{kCommand, static_cast<uint32_t>(data.size())}, {answer, 1, true}}, 0);
    driver_->kick(control);
    EXPECT_EQ(queue(control).wait_used(1).size(), 1u);
    return std::to_integer<unsigned>(bytes_at(answer, 1)[0]);
  }
  uint64_t config_mac() { return driver_->read_device(kNetConfigMac, 8) & 0xffff'ffff'ffff; }
  uint64_t status() { return driver_->read_device(kNetConfigStatus, 2); }

  std::shared_ptr<vmm::GuestMemory> memory_ = make_memory();
  NetConfig config_;
  std::shared_ptr<Wire> wire_;
  std::unique_ptr<NetHost> host_;
  std::optional<Driver> driver_;
  std::deque<Used> used_;
};

}  // namespace godwit::devices::virtio
