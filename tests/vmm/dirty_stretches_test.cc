#include "vmm/kvm/dirty_stretches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

namespace godwit::vmm {
namespace {

using Stretches = std::vector<std::pair<uint64_t, uint64_t>>;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

Stretches stretches_of(const std::vector<uint64_t>& words) {
  Stretches result;
  for_each_dirty_stretch(
      words, [&](uint64_t first, uint64_t count) { result.emplace_back(first, count); });
  return result;
}

TEST(DirtyStretches, EmptyBitmapHasNone) {
  EXPECT_THAT(stretches_of({}), IsEmpty());
  EXPECT_THAT(stretches_of(std::vector<uint64_t>(5000)), IsEmpty());
}

TEST(DirtyStretches, NearPagesShareOneAndFarPagesDoNot) {
  std::vector<uint64_t> words(5000);
  words[3] = 1;
  words[3 + kClearMaxGapWords] = 1;
  words[4999] = 1;
  EXPECT_THAT(stretches_of(words), ElementsAre(Pair(3, kClearMaxGapWords + 1), Pair(4999, 1)));
}

TEST(DirtyStretches, ManyPagesAreTakenInPieces) {
  const std::vector<uint64_t> words(1000, ~uint64_t{0});
  const uint64_t piece = kClearMaxDirtyPages / 64;
  EXPECT_THAT(stretches_of(words),
              ElementsAre(Pair(0, piece), Pair(piece, piece), Pair(2 * piece, piece),
                          Pair(3 * piece, 1000 - 3 * piece)));
}

TEST(DirtyStretches, EveryDirtyWordIsInExactlyOne) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 50; ++round) {
    std::vector<uint64_t> words(20000);
    for (int i = 0; i < 1 << (round % 14); ++i) words[random() % words.size()] = random() | 1;
    uint64_t next = 0;
    std::vector<uint64_t> rest = words;
    for (const auto& [first, count] : stretches_of(words)) {
      ASSERT_GE(first, next);
      ASSERT_LE(first + count, words.size());
      next = first + count;
      EXPECT_NE(words[first], 0u);
      EXPECT_NE(words[next - 1], 0u);
      std::fill_n(rest.begin() + static_cast<std::ptrdiff_t>(first), count, 0);
    }
    EXPECT_EQ(rest, std::vector<uint64_t>(words.size()));
  }
}

}  // namespace
}  // namespace godwit::vmm
