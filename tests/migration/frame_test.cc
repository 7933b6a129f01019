#include "migration/page/frame.h"

#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

constexpr uint64_t kGuestPages = 8192;

struct Encoded {
  std::vector<std::byte> bytes;
  std::span<const std::byte, kFrameHeaderBytes> head() const {
    return std::span(bytes).first<kFrameHeaderBytes>();
  }
  std::span<const std::byte> groups() const { return std::span(bytes).subspan(kFrameHeaderBytes); }
};

Encoded encode(const FrameHeader& header, std::span<const PageGroup> groups) {
  ByteWriter out;
  encode_frame(header, groups, out);
  return {out.take()};
}

Result<std::vector<PageGroup>> decode(const Encoded& e) {
  GODWIT_ASSIGN(const FrameHeader h, decode_frame_header(e.head()));
  std::vector<PageGroup> groups;
  if (e.groups().size() != h.groups * kGroupBytes) return Error{Errc::kCorrupt, "length"};
  GODWIT_TRY(decode_groups(e.head(), h, e.groups(), kGuestPages, groups));
  return groups;
}

const PageGroup kTwoGroups[] = {{3, 0b101, 0b010}, {100, 0, ~uint64_t{0}}};
const FrameHeader kHeader{.iteration = 7, .data_pages = 2, .payload_bytes = 2 * kPageSize};

TEST(PageFrame, RoundTrips) {
  const auto groups = decode(encode(kHeader, kTwoGroups));
  ASSERT_TRUE(groups) << groups.error().message;
  ASSERT_EQ(groups->size(), 2u);
  EXPECT_EQ((*groups)[0].data, 0b101u);
  EXPECT_EQ((*groups)[1].zero, ~uint64_t{0});
}

TEST(PageFrame, AnyFlippedBitIsRejected) {
  const Encoded good = encode(kHeader, kTwoGroups);
  for (size_t i = 0; i < good.bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Encoded bad = good;
      bad.bytes[i] ^= std::byte(1 << bit);
      EXPECT_FALSE(decode(bad)) << "byte " << i << " bit " << bit;
    }
  }
}

TEST(PageFrame, GroupOutsideTheGuestIsRejected) {
  const PageGroup outside[] = {{kGuestPages / 64, 1, 0}};
  EXPECT_FALSE(decode(encode({.data_pages = 1, .payload_bytes = kPageSize}, outside)));
  const PageGroup huge[] = {{~uint64_t{0}, 1, 0}};
  EXPECT_FALSE(decode(encode({.data_pages = 1, .payload_bytes = kPageSize}, huge)));
}

TEST(PageFrame, MalformedGroupsAreRejected) {
  const PageGroup both[] = {{1, 1, 1}};
  EXPECT_FALSE(decode(encode({.data_pages = 1, .payload_bytes = kPageSize}, both)));
  const PageGroup empty[] = {{1, 0, 0}};
  EXPECT_FALSE(decode(encode({}, empty)));
  const PageGroup backwards[] = {{2, 0, 1}, {1, 0, 1}};
  EXPECT_FALSE(decode(encode({}, backwards)));
  const PageGroup miscounted[] = {{2, 0b11, 0}};
  EXPECT_FALSE(decode(encode({.data_pages = 1, .payload_bytes = kPageSize}, miscounted)));
}

TEST(PageFrame, LengthsOverTheirCapsAreRejected) {
  const PageGroup one[] = {{2, 1, 0}};
  EXPECT_FALSE(decode(encode({.data_pages = 1, .payload_bytes = kPageSize + 1}, one)));
  EXPECT_FALSE(decode(encode({.data_pages = 65, .payload_bytes = 65 * kPageSize}, one)));
  EXPECT_FALSE(
      decode(encode({.codec = Codec::kLz4, .data_pages = 1, .payload_bytes = kPageSize}, one)))
      << "LZ4 that saves nothing";
  EXPECT_FALSE(decode(encode({.codec = Codec::kLz4, .data_pages = 1, .payload_bytes = 0}, one)));
}

TEST(PageFrame, AcknowledgementRoundTripsAndRejectsEveryFlip) {
  const auto good = encode_ack(42);
  EXPECT_EQ(*decode_ack(good), 42u);
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{4};
    EXPECT_FALSE(decode_ack(bad));
  }
}

TEST(PageFrame, RunsJoinNeighbours) {
  const PageGroup groups[] = {{0, 0b1110011, 0}, {1, ~uint64_t{0}, 0}, {2, uint64_t{1} << 63, 0}};
  std::vector<std::pair<uint64_t, uint64_t>> runs;
  for_each_run(groups, [&](PageIndex first, uint64_t n) { runs.emplace_back(first.value, n); });
  const std::vector<std::pair<uint64_t, uint64_t>> expected{{0, 2}, {4, 3}, {64, 64}, {191, 1}};
  EXPECT_EQ(runs, expected);
}

}  // namespace
}  // namespace godwit::migration
