#include "migration/page/compression_policy.h"

#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

constexpr uint64_t kBatch = 256 << 10;

// A link and a codec with fixed costs per guest byte.
struct Model {
  double link_ns_per_byte;    // per byte on the wire
  double encode_ns_per_byte;  // per guest byte
  double ratio;               // wire bytes per guest byte with LZ4
};

// How many of `batches` went out raw.
int raw_batches(CompressionPolicy& policy, const Model& m, int batches) {
  int raw = 0;
  for (int i = 0; i < batches; ++i) {
    const Codec codec = policy.next();
    const bool lz4 = codec == Codec::kLz4;
    const double wire = kBatch * (lz4 ? m.ratio : 1.0);
    policy.record(
        {.tried = codec,
         .raw_bytes = kBatch,
         .wire_bytes = static_cast<uint64_t>(wire),
         .encode = Nanoseconds(static_cast<int64_t>(lz4 ? m.encode_ns_per_byte * kBatch : 0)),
         .send = Nanoseconds(static_cast<int64_t>(m.link_ns_per_byte * wire))});
    if (!lz4) ++raw;
  }
  return raw;
}

TEST(CompressionPolicy, TurnsOffWhereTheLinkIsFasterThanTheCodec) {
  CompressionPolicy policy(Compression::kAuto);
  const int raw =
      raw_batches(policy, {.link_ns_per_byte = 0.3, .encode_ns_per_byte = 1.0, .ratio = 0.4}, 4096);
  EXPECT_GE(raw, 4096 - 4096 / 64) << "probing costs a batch in a hundred at the most";
}

TEST(CompressionPolicy, TurnsOnWhereTheLinkIsSlow) {
  CompressionPolicy policy(Compression::kAuto);
  const int raw =
      raw_batches(policy, {.link_ns_per_byte = 8, .encode_ns_per_byte = 1.0, .ratio = 0.4}, 1024);
  EXPECT_LE(raw, 1024 / 8);
}

TEST(CompressionPolicy, LeavesContentThatDoesNotShrinkAlone) {
  CompressionPolicy policy(Compression::kAuto);
  const int raw =
      raw_batches(policy, {.link_ns_per_byte = 8, .encode_ns_per_byte = 0.3, .ratio = 1.0}, 4096);
  EXPECT_GE(raw, 4096 - 4096 / 64);
}

// On a busy host a batch now and then finds an empty socket buffer; that is no merit of the codec.
TEST(CompressionPolicy, ALuckyBatchThatDidNotShrinkDoesNotTurnItOn) {
  CompressionPolicy policy(Compression::kAuto);
  int raw = 0;
  for (int i = 0; i < 4096; ++i) {
    const bool lz4 = policy.next() == Codec::kLz4;
    policy.record({.tried = policy.next(),
                   .raw_bytes = kBatch,
                   .wire_bytes = kBatch,
                   .encode = Nanoseconds(lz4 ? 50'000 : 0),
                   .send = Nanoseconds(lz4 ? 10'000 : 400'000)});
    if (!lz4) ++raw;
  }
  EXPECT_GE(raw, 4096 - 4096 / 64);
}

TEST(CompressionPolicy, ChangesItsMindWhenTheLinkDoes) {
  CompressionPolicy policy(Compression::kAuto);
  raw_batches(policy, {.link_ns_per_byte = 0.1, .encode_ns_per_byte = 1.0, .ratio = 0.4}, 512);
  const int raw =
      raw_batches(policy, {.link_ns_per_byte = 8, .encode_ns_per_byte = 1.0, .ratio = 0.4}, 2048);
  EXPECT_LE(raw, 2048 / 2);
}

TEST(CompressionPolicy, DoesAsToldOtherwise) {
  CompressionPolicy none(Compression::kNone);
  EXPECT_EQ(raw_batches(none, {8, 1, 0.1}, 100), 100);
  CompressionPolicy lz4(Compression::kLz4);
  EXPECT_EQ(raw_batches(lz4, {0.1, 1, 1}, 100), 0);
}

}  // namespace
}  // namespace godwit::migration
