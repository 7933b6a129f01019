// Frames through a network device: both directions, buffers of all kinds, lies, and what it costs.
#include "devices/virtio/net.h"

#include "tests/virtio/net_device_fixture.h"

namespace godwit::devices::virtio {
namespace {

class NetFrames : public NetDeviceTest, public testing::WithParamInterface<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Features, NetFrames,
                         testing::Values(uint64_t{0}, kNetMrgRxbuf, kEventIdx,
                                         kEventIdx | kNetMrgRxbuf),
                         [](const auto& test) {
                           return std::string(test.param & kNetMrgRxbuf ? "Mergeable" : "Single") +
                                  (test.param & kEventIdx ? "EventIndex" : "");
                         });

TEST_P(NetFrames, GoBothWays) {
  start(GetParam());
  add_buffers(0, 32, 1526);
  for (uint32_t i = 0; i < 100; ++i) {
    add_frame(static_cast<uint16_t>(i % 64), numbered(i));
    driver_->kick(1);
    EXPECT_EQ(wire_->receive(), numbered(i));
    const auto used = queue(1).wait_used(1);
    ASSERT_EQ(used.size(), 1u);
    EXPECT_EQ(used[0].head, i % 64);
    EXPECT_EQ(used[0].written, 0u);
    wire_->send(numbered(i, 72 + i * 14));
    EXPECT_EQ(next_frame(), with_buffers(numbered(i, 72 + i * 14), 1));
    add_buffers(static_cast<uint16_t>(i % 32), 1, 1526);
  }
}

TEST_P(NetFrames, AllThatCameMeanwhileIsHandedOverOnceTheGuestGoesOn) {
  start(GetParam());
  add_buffers(0, 60, 1526);
  host_->device.quiesce();
  for (uint32_t i = 0; i < 50; ++i) wire_->send(numbered(i));
  const int before = host_->msi.count(0);
  host_->device.resume();
  for (uint32_t i = 0; i < 50; ++i) ASSERT_EQ(number_of(next_frame()), i);
  EXPECT_LE(host_->msi.count(0) - before, 1) << "one interrupt for all";
}

TEST_F(NetDeviceTest, LongFramesTakeSeveralBuffers) {
  start();
  add_buffers(0, 64, 1526);
  for (const size_t bytes : {1526u, 1527u, 4000u, 9000u, 9014u, 30000u, 100u, 3052u}) {
    wire_->send(numbered(7, bytes));
    EXPECT_EQ(next_frame(),
              with_buffers(numbered(7, bytes), static_cast<uint16_t>((bytes + 1525) / 1526)));
    driver_->reset();
    driver_->start(kPlain | kNetMrgRxbuf, 3, 64);
    add_buffers(0, 64, 1526);
  }
  wire_->send(numbered(8, kMaxNetFrameBytes));
  EXPECT_EQ(next_frame(), with_buffers(numbered(8, kMaxNetFrameBytes), 43));
}

TEST_F(NetDeviceTest, AFrameWaitsForTheRestOfItsBuffers) {
  start();
  add_buffers(0, 2, 1526);
  wire_->send(numbered(1, 5000));
  wire_->send(numbered(2));
  add_buffers(2, 1, 1526);
  add_buffers(3, 1, 600);
  add_buffers(4, 2, 1526);
  EXPECT_EQ(next_frame(), with_buffers(numbered(1, 5000), 4));
  EXPECT_EQ(next_frame(), with_buffers(numbered(2), 1));
}

TEST_F(NetDeviceTest, AFrameThatTheWholeRingDoesNotHoldIsDropped) {
  start(kPlain | kNetMrgRxbuf, 1, 4);
  add_buffers(0, 4, 1526);
  wire_->send(numbered(1, 4 * 1526 + 1));
  wire_->send(numbered(2, 4 * 1526));
  EXPECT_EQ(next_frame(), with_buffers(numbered(2, 4 * 1526), 4));
}

TEST_F(NetDeviceTest, AFrameLongerThanASingleBufferIsDroppedAndTheBufferKept) {
  start(kPlain);
  add_buffers(0, 1, 200);
  wire_->send(numbered(1, 201));
  wire_->send(numbered(2, 200));
  EXPECT_EQ(next_frame(), with_buffers(numbered(2, 200), 1));
  EXPECT_EQ(wire_->too_long, 1);
}

TEST_P(NetFrames, ChainsMayBeCutAnywhere) {
  start(GetParam() | kIndirect);
  const std::vector<uint32_t> cuts = {3, 8, 1, 2, 50, 1, 1000, 700};
  Gpa at = kRx;
  std::vector<DriverQueue::Part> writable;
  for (const uint32_t cut : cuts) {
    writable.push_back({at, cut, true});
    at = at + cut;
  }
  queue(0).add(writable, 0);
  queue(0).add_indirect({{kRx + 65536, 11, true}, {kRx + 65547, 2000, true}}, kCommand, 20);
  driver_->kick(0);
  for (uint32_t i = 0; i < 2; ++i) {
    wire_->send(numbered(i, 1400));
    const auto used = queue(0).wait_used(1);
    ASSERT_EQ(used.size(), 1u);
    EXPECT_EQ(used[0].written, 1400u);
    EXPECT_EQ(bytes_at(kRx + i * 65536, 1400), with_buffers(numbered(i, 1400), 1));
  }
  ASSERT_TRUE(memory_->write(kTx, numbered(9, 1400)));
  queue(1).add({{kTx, 5}, {kTx + 5, 0}, {kTx + 5, 20}, {kTx + 25, 1}, {kTx + 26, 1374}}, 0);
  queue(1).add_indirect({{kTx, 12}, {kTx + 12, 1388}}, kCommand + 4096, 10);
  driver_->kick(1);
  EXPECT_EQ(wire_->receive(), numbered(9, 1400));
  EXPECT_EQ(wire_->receive(), numbered(9, 1400));
}

TEST_F(NetDeviceTest, OnlyADriverThatKnowsFlagsSeesThem) {
  constexpr std::byte kDataValid{2};
  Bytes frame = numbered(1);
  frame[kFlagsOffset] = kDataValid;
  start(kPlain);
  add_buffers(0, 1, 1526);
  wire_->send(frame);
  EXPECT_EQ(next_frame(), with_buffers(numbered(1), 1));
  driver_->start(kPlain | kNetGuestCsum, 3, 64);
  add_buffers(0, 1, 1526);
  wire_->send(frame);
  EXPECT_EQ(next_frame(), with_buffers(frame, 1));
}

TEST_F(NetDeviceTest, WhatIsNoFrameIsDroppedAndComesBack) {
  start();
  queue(1).add({{kTx, 11}}, 0);
  queue(1).add({{kTx, 25}}, 1);
  queue(1).add({{kTx, 100, true}}, 2);
  queue(1).add({{kTx, 0}}, 3);
  queue(1).add({{kTx, static_cast<uint32_t>(kMaxNetFrameBytes) + 1}}, 4);
  add_frame(5, numbered(5));
  driver_->kick(1);
  EXPECT_EQ(queue(1).wait_used(6).size(), 6u);
  EXPECT_EQ(wire_->receive(), numbered(5));
  EXPECT_EQ(wire_->malformed, 5);
}

TEST_F(NetDeviceTest, NeedsAResetAfterADriverThatLies) {
  const std::vector<std::function<void()>> lies = {
      [&] {
        queue(0).add({{kRx, 1526}}, 0), driver_->kick(0);
      },
      [&] {
        queue(0).add({{kRx, 12, true}}, 0), driver_->kick(0);
      },
      [&] {
        queue(0).add({{kRx, 0, true}}, 0), driver_->kick(0);
      },
      [&] {
        queue(0).add({{Gpa{1ull << 40}, 1526, true}}, 0), driver_->kick(0);
      },
      [&] { queue(0).offer(999), driver_->kick(0); },
      [&] { queue(0).set_available_index(1000), driver_->kick(0); },
      [&] {
        queue(1).add({{Gpa{1ull << 40}, 1526}}, 0), driver_->kick(1);
      },
      [&] { queue(1).set_available_index(1000), driver_->kick(1); },
      [&] {
        queue(2).add({{kCommand, 1}, {kCommand + 100, 1, true}}, 0), driver_->kick(2);
      },
      [&] {
        queue(2).add({{kCommand, 8}}, 0), driver_->kick(2);
      },
  };
  start();
  int changes = host_->msi.count(3);
  for (size_t i = 0; i < lies.size(); ++i) {
    SCOPED_TRACE(i);
    driver_->start(kPlain | kNetMrgRxbuf, 3, 64);
    lies[i]();
    ASSERT_TRUE(host_->msi.wait_for(3, ++changes));
    EXPECT_NE(driver_->status() & kNeedsReset, 0);
    wire_->send(numbered(1));
    driver_->start(kPlain | kNetMrgRxbuf, 3, 64);
    EXPECT_EQ(driver_->status() & kNeedsReset, 0);
    add_buffers(0, 8, 1526);
    wire_->send(numbered(2));
    EXPECT_EQ(number_of(next_frame()), 2u) << "what was for the driver before is stale";
    used_.clear();
  }
}

TEST_F(NetDeviceTest, WaitingForBuffersCostsNothing) {
  start();
  add_buffers(0, 1, 1526);
  for (uint32_t i = 0; i < 50; ++i) wire_->send(numbered(i));
  EXPECT_EQ(number_of(next_frame()), 0u);
  const int calls = wire_->receive_calls;
  const uint64_t wake_ups = host_->net.wake_ups();
  ::usleep(50'000);  // nothing tells that nothing happens
  EXPECT_LE(wire_->receive_calls - calls, 1);
  EXPECT_LE(host_->net.wake_ups() - wake_ups, 1u);
  add_buffers(1, 60, 1526);
  for (uint32_t i = 1; i < 50; ++i) ASSERT_EQ(number_of(next_frame()), i);
}

// Level-triggered, with a budget: a flood neither spins nor starves, and interrupts are few.
TEST_F(NetDeviceTest, ABatchCostsOneWakeUpAndOneInterrupt) {
  start(kPlain | kNetMrgRxbuf, 1, 256);
  add_buffers(0, 256, 1526);
  host_->device.quiesce();
  constexpr uint32_t kFrames = 200;
  for (uint32_t i = 0; i < kFrames; ++i) wire_->send(numbered(i));
  const uint64_t wake_ups = host_->net.wake_ups();
  wire_->receive_calls = 0;
  host_->device.resume();
  for (uint32_t i = 0; i < kFrames; ++i) ASSERT_EQ(number_of(next_frame()), i);
  host_->device.quiesce();
  const auto turns = static_cast<int>((kFrames + NetReceiver::kBudget - 1) / NetReceiver::kBudget);
  EXPECT_LE(host_->net.wake_ups() - wake_ups, static_cast<uint64_t>(turns) + 1);
  EXPECT_LE(wire_->receive_calls, static_cast<int>(kFrames) + turns + 1);
  EXPECT_LE(host_->msi.count(0), turns);

  for (uint16_t i = 0; i < kFrames; ++i) add_frame(i, numbered(i));
  host_->device.resume();
  for (uint32_t i = 0; i < kFrames; ++i) ASSERT_EQ(number_of(wire_->receive()), i);
  EXPECT_EQ(queue(1).wait_used(kFrames).size(), kFrames);
  EXPECT_LE(host_->msi.count(1), turns);
}

TEST_F(NetDeviceTest, ANetworkThatIsFullHoldsFramesBack) {
  start(kPlain, 1, 256);
  wire_->limit(1);
  for (uint16_t i = 0; i < 200; ++i) add_frame(i, numbered(i, 3000));
  driver_->kick(1);
  ::usleep(20'000);
  EXPECT_LT(queue(1).used_index(), 200);
  EXPECT_LE(host_->net.wake_ups(), 200u) << "waiting is no spinning";
  for (uint32_t i = 0; i < 200; ++i) ASSERT_EQ(wire_->receive(), numbered(i, 3000));
  EXPECT_EQ(queue(1).wait_used(200).size(), 200u);
}

TEST_F(NetDeviceTest, AnInterfaceThatGoesIsALinkThatIsDown) {
  start();
  EXPECT_EQ(status(), kNetLinkUp);
  add_buffers(0, 4, 1526);
  wire_->gone = true;
  wire_->send(numbered(1));
  ASSERT_TRUE(host_->msi.wait_for(3, 1));
  EXPECT_EQ(status(), 0u);
  const int calls = wire_->receive_calls;
  add_frame(0, numbered(1));
  driver_->kick(1);
  EXPECT_EQ(queue(1).wait_used(1).size(), 1u);
  EXPECT_EQ(wire_->receive_calls, calls) << "it is not polled any more";
  wire_->gone = false;
  move();
  EXPECT_TRUE(host_->msi.wait_for(3, 1));
  EXPECT_EQ(status() & kNetLinkUp, kNetLinkUp);
}

TEST_F(NetDeviceTest, TellsWhatItIs) {
  config_.mtu = 9000;
  make(2);
  driver_->enable_pci();
  EXPECT_EQ(host_->device.traits(), "slot=1;id=net0;queues=2;offload=on;mtu=9000");
  const uint64_t offered = driver_->offered();
  const uint64_t all = kNetCsum | kNetGuestOffloads | kNetHostTso4 | kNetHostTso6 | kNetHostEcn |
                       kNetCtrlGuestOffloads | kNetMtu | kNetMac | kNetMrgRxbuf | kNetStatus |
                       kNetCtrlVq | kNetGuestAnnounce | kNetMq | kNetCtrlMacAddr;
  EXPECT_EQ(offered, all | kVersion1 | kEventIdx | kIndirect);
  EXPECT_EQ(driver_->read_device(kNetConfigPairs, 2), 2u);
  EXPECT_EQ(driver_->read_device(kNetConfigMtu, 2), 9000u);
  EXPECT_EQ(config_mac(), 0x42'00'00'00'54'52u);
  EXPECT_EQ(driver_->read_device(kNetConfigBytes, 4), 0u);
  EXPECT_EQ(driver_->read(kNumQueues, 2), 5u);
  driver_->write(kDeviceOffset, 0xffff, 2);
  EXPECT_EQ(config_mac(), 0x42'00'00'00'54'52u) << "read-only";

  NetHost plain(memory_, wire_, {.id = "x"}, kMac, NetOffloads{});
  EXPECT_EQ(plain.net.features() & (kNetCsum | kNetGuestOffloads | kNetHostTso4 | kNetMtu), 0u);
  EXPECT_EQ(plain.net.traits(), "id=x;queues=2;offload=off");
}

}  // namespace
}  // namespace godwit::devices::virtio
