// Disks on their way: frames, the sender and the receiver, and peers that lie.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "migration/storage/storage_receiver.h"
#include "migration/storage/storage_sender.h"
#include "tests/support/fake_volume.h"
#include "tests/support/memory_channel.h"

namespace godwit::migration {
namespace {

using support::FakeVolume;
using testing::HasSubstr;
constexpr uint64_t kGranule = vmm::kStorageGranule;
const uint64_t kSizes[] = {10 * kGranule, 3 * kGranule + 512};

std::array<std::byte, kStorageFrameBytes> encoded(const StorageFrame& frame) {
  ByteWriter out;
  encode_storage_frame(frame, out);
  std::array<std::byte, kStorageFrameBytes> bytes{};
  EXPECT_EQ(out.size(), bytes.size());
  std::ranges::copy(out.view(), bytes.begin());
  return bytes;
}

StorageFrame data_frame() {
  return {.volume = 1,
          .pass = 3,
          .payload_bytes = 512,
          .offset = 3 * kGranule,
          .length = 512,
          .payload_checksum = 7};
}

TEST(StorageFrame, RoundTripsAndRejectsEveryFlip) {
  const auto good = encoded(data_frame());
  const auto frame = decode_storage_frame(good, kSizes);
  ASSERT_TRUE(frame) << frame.error().message;
  EXPECT_EQ(frame->volume, 1);
  EXPECT_EQ(frame->pass, 3u);
  EXPECT_EQ(frame->offset, 3 * kGranule);
  EXPECT_EQ(frame->length, 512u);
  EXPECT_EQ(frame->payload_checksum, 7u);
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      auto bad = good;
      bad[i] ^= std::byte(1 << bit);
      EXPECT_FALSE(decode_storage_frame(bad, kSizes)) << i;
    }
  }
}

TEST(StorageFrame, WhatLiesOutsideOfADiskIsRejected) {
  const auto refused = [](auto change) {
    StorageFrame frame = data_frame();
    change(frame);
    const auto decoded = decode_storage_frame(encoded(frame), kSizes);
    return !decoded && decoded.error().code == Errc::kCorrupt;
  };
  EXPECT_TRUE(refused([](auto& f) { f.volume = 2; }));
  EXPECT_TRUE(refused([](auto& f) { f.volume = 0xffff; }));
  EXPECT_TRUE(refused([](auto& f) { f.length = f.payload_bytes = 1024; })) << "over the end";
  EXPECT_TRUE(refused([](auto& f) { f.offset = 4 * kGranule; })) << "beyond it";
  EXPECT_TRUE(refused([](auto& f) { f.offset = ~uint64_t{0} / kGranule * kGranule; }));
  EXPECT_TRUE(refused([](auto& f) { f.offset = 512; })) << "inside of a granule";
  EXPECT_TRUE(refused([](auto& f) { f.length = f.payload_bytes = 0; }));
  EXPECT_TRUE(refused([](auto& f) { f.payload_bytes = 511; })) << "raw, and shorter";
  EXPECT_TRUE(refused([](auto& f) { f.codec = Codec::kLz4; })) << "packed, and not shorter";
  EXPECT_TRUE(refused([](auto& f) { f.codec = Codec::kLz4, f.payload_bytes = 0; }));
  EXPECT_TRUE(refused([](auto& f) { f.kind = StorageFrameKind::kZeroes; })) << "with a payload";
  EXPECT_TRUE(refused([](auto& f) {
    f = {.kind = StorageFrameKind::kZeroes, .offset = 0, .length = ~uint64_t{0}};
  }));
  EXPECT_TRUE(
      refused([](auto& f) { f = {.kind = StorageFrameKind::kEndOfPass, .offset = kGranule}; }));
  constexpr uint64_t kLarge[] = {uint64_t{1} << 40};
  StorageFrame large{.payload_bytes = kMaxStorageChunk + 512, .length = kMaxStorageChunk + 512};
  EXPECT_FALSE(decode_storage_frame(encoded(large), kLarge)) << "more than a chunk";
  large.codec = Codec::kLz4;
  large.payload_bytes = 100;
  EXPECT_FALSE(decode_storage_frame(encoded(large), kLarge)) << "packed as well";
}

TEST(StorageAck, RoundTripsAndRejectsEveryFlip) {
  const auto good = encode_storage_ack({9, Nanoseconds(77)});
  const auto ack = decode_storage_ack(good);
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->pass, 9u);
  EXPECT_EQ(ack->flush, Nanoseconds(77));
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{1};
    EXPECT_FALSE(decode_storage_ack(bad)) << i;
  }
  EXPECT_FALSE(decode_storage_ack(encode_storage_ack({9, Nanoseconds(-1)})));
  EXPECT_FALSE(decode_storage_ack(encode_storage_ack({9, std::chrono::hours(25)})));
}

class StorageTransfer : public testing::Test {
 protected:
  StorageTransfer() {
    auto [a, b] = support::make_memory_pair();
    near_ = std::move(a);
    far_ = std::move(b);
  }
  void write_something() {
    from_.guest_write(0, 512, std::byte{1});
    from_.guest_write(2 * kGranule - 512, 1024, std::byte{2});
    from_.guest_write(40 * kGranule, 20 * kGranule, std::byte{3});
    from_.guest_write(kBytes - 512, 512, std::byte{4});
  }
  vmm::DirtyBitmap everything() const {
    vmm::DirtyBitmap set(vmm::granules_of(kBytes));
    set.set_all();
    return set;
  }
  static constexpr uint64_t kBytes = 100 * kGranule + 512;
  FakeVolume from_{"disk0", kBytes, std::byte{0}};
  FakeVolume to_{"disk0", kBytes, std::byte{0xee}};
  std::unique_ptr<Channel> near_, far_;
};

TEST_F(StorageTransfer, AnyCodecMakesThemEqual) {
  write_something();
  for (const Compression codec : {Compression::kNone, Compression::kLz4, Compression::kAuto}) {
    auto pair = support::make_memory_pair();
    const auto& a = pair.first;
    const auto& b = pair.second;
    to_.guest_write(0, kBytes, std::byte{0xee});
    StorageSender sender({&from_}, {.compression = codec});
    StorageReceiver receiver({&to_}, true);
    Result<bool> last = false;
    std::jthread receiving([&] { last = receiver.receive_pass(*b, 1); });
    const vmm::DirtyBitmap sets[] = {everything()};
    ASSERT_TRUE(sender.send_pass(*a, sets, 1, true));
    std::array<std::byte, kStorageAckBytes> ack;
    ASSERT_TRUE(a->receive(MutableBuffer(ack)));
    receiving.join();
    ASSERT_TRUE(last) << last.error().message;
    EXPECT_TRUE(*last);
    EXPECT_EQ(decode_storage_ack(ack)->pass, 1u);
    EXPECT_TRUE(from_.content() == to_.content());
    EXPECT_TRUE(to_.durable());
    const StorageCounts counts = sender.counts();
    EXPECT_EQ(counts.data_bytes, 23 * kGranule + 512) << "granules with anything in them";
    EXPECT_EQ(counts.data_bytes + counts.zero_bytes, kBytes);
  }
}

// What a peer sends of its own: the receiver's error.
class HostilePeer : public StorageTransfer {
 protected:
  Error receive(StorageFrame frame, std::span<const std::byte> payload = {}) {
    if (frame.pass == 0) frame.pass = 1;
    EXPECT_TRUE(near_->send(ConstBuffer(encoded(frame))));
    if (!payload.empty()) {
      EXPECT_TRUE(near_->send(payload));
    }
    EXPECT_TRUE(near_->flush());
    near_->shutdown();
    const auto got = StorageReceiver({&to_}, true).receive_pass(*far_, 1);
    EXPECT_FALSE(got);
    EXPECT_TRUE(to_.content() == FakeVolume("x", kBytes, std::byte{0xee}).content());
    return got ? Error{} : got.error();
  }
};

TEST_F(HostilePeer, BytesBehindTheEndAreNotWritten) {
  const auto error = receive({.payload_bytes = 1024, .offset = 100 * kGranule, .length = 1024},
                             std::vector<std::byte>(1024));
  EXPECT_THAT(error.message, HasSubstr("1024 bytes at 6553600 of volume 0"));
}

TEST_F(HostilePeer, ContentWithAWrongChecksumIsNotWritten) {
  const auto error = receive({.payload_bytes = 512, .length = 512, .payload_checksum = 1},
                             std::vector<std::byte>(512));
  EXPECT_THAT(error.message, HasSubstr("wrong checksum"));
}

TEST_F(HostilePeer, Lz4ThatDecodesToMoreOrLessIsNotWritten) {
  // A literal run of two bytes, for 4096.
  const std::array packed{std::byte{0x20}, std::byte{1}, std::byte{2}};
  StorageFrame frame{.codec = Codec::kLz4, .pass = 1, .payload_bytes = 3, .length = 4096};
  EXPECT_TRUE(near_->send(ConstBuffer(encoded(frame))));
  EXPECT_TRUE(near_->send(ConstBuffer(packed)));
  EXPECT_TRUE(near_->flush());
  const auto got = StorageReceiver({&to_}, false).receive_pass(*far_, 1);
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("3 bytes of LZ4 do not decode to 4096"));
}

TEST_F(HostilePeer, AFrameOfAnotherPassIsRefused) {
  const auto error = receive({.kind = StorageFrameKind::kZeroes, .pass = 2, .length = 512});
  EXPECT_EQ(error.code, Errc::kProtocol);
}

TEST_F(HostilePeer, AnEndAmidAFrameIsAnError) {
  EXPECT_EQ(
      receive({.pass = 1, .payload_bytes = 4096, .length = 4096}, std::vector<std::byte>(100)).code,
      Errc::kIo);
}

}  // namespace
}  // namespace godwit::migration
