// The control queue of a network device, and several queue pairs.
#include "tests/virtio/net_device_fixture.h"

namespace godwit::devices::virtio {
namespace {

TEST_F(NetDeviceTest, TheDriverSetsTheMacUntilItResets) {
  start(kPlain | kNetCtrlMacAddr);
  EXPECT_EQ(command({kNetMacClass, kNetMacSet, 2, 0, 0, 0, 0, 7}), kNetOk);
  EXPECT_EQ(config_mac(), 0x07'00'00'00'00'02u);
  EXPECT_EQ(command({kNetMacClass, kNetMacSet, 3, 0, 0, 0, 0, 7}), kNetError) << "a group";
  EXPECT_EQ(command({kNetMacClass, kNetMacSet, 0, 0, 0, 0, 0, 0}), kNetError);
  EXPECT_EQ(config_mac(), 0x07'00'00'00'00'02u);
  driver_->reset();
  EXPECT_EQ(config_mac(), 0x42'00'00'00'54'52u);
}

TEST_F(NetDeviceTest, CommandsThatItDoesNotKnowFail) {
  start(kPlain | kNetCtrlMacAddr | kNetGuestAnnounce);
  EXPECT_EQ(command({0, 0, 1}), kNetError) << "no filters";
  EXPECT_EQ(command({kNetMacClass, 0, 0, 0, 0, 0}), kNetError);
  EXPECT_EQ(command({kNetMacClass, kNetMacSet, 2, 0, 0, 0, 0}), kNetError) << "too short";
  EXPECT_EQ(command({kNetMacClass, kNetMacSet, 2, 0, 0, 0, 0, 0, 0}), kNetError) << "too long";
  EXPECT_EQ(command({kNetMqClass, kNetMqPairsSet, 1, 0}), kNetError) << "was not negotiated";
  EXPECT_EQ(command({kNetOffloadsClass, kNetOffloadsSet, 0, 0, 0, 0, 0, 0, 0, 0}), kNetError);
  EXPECT_EQ(command({kNetAnnounceClass, kNetAnnounceAck, 0}), kNetError);
  EXPECT_EQ(command({kNetAnnounceClass, kNetAnnounceAck}), kNetOk);
  EXPECT_EQ(command({255, 255}), kNetError);
  std::initializer_list<unsigned> many = {1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  EXPECT_EQ(command(many), kNetError);
}

TEST_F(NetDeviceTest, OffloadsAreThoseNegotiatedOrSet) {
  start(kPlain | kNetGuestCsum | kNetGuestTso4 | kNetCtrlGuestOffloads);
  EXPECT_EQ(wire_->guest_offloads, (NetOffloads{.checksum = true, .tso4 = true}));
  EXPECT_EQ(command({kNetOffloadsClass, kNetOffloadsSet, 2, 0, 0, 0, 0, 0, 0, 0}), kNetOk);
  EXPECT_EQ(wire_->guest_offloads, NetOffloads{.checksum = true});
  EXPECT_EQ(command({kNetOffloadsClass, kNetOffloadsSet, 2, 1, 0, 0, 0, 0, 0, 0}), kNetError)
      << "TSO over IPv6 was not negotiated";
  EXPECT_EQ(wire_->guest_offloads, NetOffloads{.checksum = true});
  move();
  EXPECT_EQ(wire_->guest_offloads, NetOffloads{.checksum = true});
  driver_->reset();
  EXPECT_EQ(wire_->guest_offloads, NetOffloads{});
  driver_->start(kPlain | kNetGuestCsum | kNetGuestTso6, 3, 16);
  EXPECT_EQ(wire_->guest_offloads, (NetOffloads{.checksum = true, .tso6 = true}));
}

// 5.1.2: without MQ the control queue is the third one, whatever the device has.
TEST_F(NetDeviceTest, ADriverWithoutMultiqueueHasItsControlQueueThird) {
  start(kPlain | kNetCtrlMacAddr, 4);
  EXPECT_EQ(command({kNetMacClass, kNetMacSet, 2, 0, 0, 0, 0, 7}), kNetOk);
  EXPECT_EQ(wire_->active_pairs, 1u);
  add_buffers(0, 4, 1526);
  wire_->send(numbered(1));
  EXPECT_EQ(number_of(next_frame()), 1u);
}

class NetQueues : public NetDeviceTest {
 protected:
  static constexpr uint64_t kMulti = kPlain | kNetMq | kNetMrgRxbuf;
  static constexpr size_t kPairs = 3;
  void expect_both_ways(uint16_t pair, uint32_t number) {
    const auto n = static_cast<uint16_t>(number % 16 + 16 * pair);
    wire_->send(numbered(number), pair);
    EXPECT_EQ(number_of(next_frame(pair)), number);
    add_buffers(n, 1, 1526, pair);
    add_frame(n, numbered(number + 1000), pair);
    driver_->kick(static_cast<uint16_t>(2 * pair + 1));
    EXPECT_EQ(number_of(wire_->receive(pair)), number + 1000);
    EXPECT_EQ(queue(static_cast<uint16_t>(2 * pair + 1)).wait_used(1).size(), 1u);
  }
  unsigned set_pairs(unsigned pairs) {
    return command({kNetMqClass, kNetMqPairsSet, pairs & 0xff, pairs >> 8}, 2 * kPairs);
  }
};

TEST_F(NetQueues, FramesComeInTheActiveOnes) {
  start(kMulti, kPairs);
  for (uint16_t pair = 0; pair < kPairs; ++pair)
    add_buffers(static_cast<uint16_t>(16 * pair), 8, 1526, pair);
  expect_both_ways(0, 1);
  EXPECT_EQ(set_pairs(0), kNetError);
  EXPECT_EQ(set_pairs(kPairs + 1), kNetError);
  EXPECT_EQ(set_pairs(0x0101), kNetError);
  EXPECT_EQ(wire_->active_pairs, 1u);
  EXPECT_EQ(set_pairs(kPairs), kNetOk);
  for (uint16_t pair = 0; pair < kPairs; ++pair) expect_both_ways(pair, 2);
  EXPECT_EQ(set_pairs(2), kNetOk);
  expect_both_ways(1, 3);
  wire_->send(numbered(9), 2);
  ::usleep(20'000);
  EXPECT_EQ(queue(4).take_used().size(), 0u) << "not active";
  EXPECT_EQ(set_pairs(kPairs), kNetOk);
  EXPECT_EQ(number_of(next_frame(2)), 9u);
}

TEST_F(NetQueues, AreAsManyAfterAMoveAndOneAfterAReset) {
  config_.announce = false;
  start(kMulti, kPairs);
  for (uint16_t pair = 0; pair < kPairs; ++pair)
    add_buffers(static_cast<uint16_t>(16 * pair), 8, 1526, pair);
  EXPECT_EQ(set_pairs(kPairs), kNetOk);
  move();
  EXPECT_EQ(wire_->active_pairs, kPairs);
  for (uint16_t pair = 0; pair < kPairs; ++pair) expect_both_ways(pair, 4);
  driver_->reset();
  EXPECT_EQ(wire_->active_pairs, 1u);
  driver_->start(kMulti, 2 * kPairs + 1, 64);
  add_buffers(0, 8, 1526, 0);
  expect_both_ways(0, 5);
}

// Switching while frames come, under pauses: nobody waits for anybody for ever.
TEST_F(NetQueues, SwitchWhileFramesMoveAndTheGuestIsPaused) {
  start(kMulti, kPairs);
  for (int i = 0; i < 200; ++i) {
    for (uint16_t pair = 0; pair < kPairs; ++pair) wire_->send(numbered(0), pair);
    const auto pairs = static_cast<uint16_t>(i % kPairs + 1);
    const Bytes bytes = {std::byte{kNetMqClass}, std::byte{kNetMqPairsSet}, std::byte(pairs),
                         std::byte{0}};
    ASSERT_TRUE(memory_->write(kCommand, bytes));
    queue(2 * kPairs).add({{kCommand, 4}, {kCommand + 100, 1, true}}, 0);
    driver_->kick(2 * kPairs);
    for (uint16_t pair = 0; pair < kPairs; ++pair)
      add_buffers(static_cast<uint16_t>(16 * pair + i % 16), 1, 1526, pair);
    host_->device.quiesce();
    host_->device.resume();
    ASSERT_EQ(queue(2 * kPairs).wait_used(1).size(), 1u);
    EXPECT_EQ(wire_->active_pairs, pairs);
    for (uint16_t pair = 0; pair < kPairs; ++pair)
      queue(static_cast<uint16_t>(2 * pair)).take_used();
    while (!wire_->receive(0, 0).empty()) continue;
  }
}

}  // namespace
}  // namespace godwit::devices::virtio
