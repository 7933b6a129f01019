// Page content and the checker: each way to break a page is found and named.
#include "bench/workload/core/page.h"

#include <lz4.h>

#include <array>
#include <vector>

#include "gtest/gtest.h"

namespace godwit::workload {
namespace {

using Page = std::array<uint64_t, kPageWords>;

Page make_page(const ContentSpec& spec, PageId id) {
  Page page;
  page.fill(0xdead);
  write_page(page.data(), spec, id);
  return page;
}

int lz4_size(const Page& page) {
  std::vector<char> out(LZ4_compressBound(sizeof(page)));
  return LZ4_compress_default(reinterpret_cast<const char*>(page.data()), out.data(), sizeof(page),
                              static_cast<int>(out.size()));
}

class WorkloadPage : public testing::TestWithParam<Content> {
 protected:
  ContentSpec spec_{GetParam(), 42};
};
INSTANTIATE_TEST_SUITE_P(EveryContent, WorkloadPage,
                         testing::Values(Content::kZero, Content::kCompress, Content::kRandom,
                                         Content::kMixed),
                         [](const auto& i) { return content_name(i.param); });

TEST_P(WorkloadPage, MatchesWhatWasWritten) {
  for (uint32_t sequence = 0; sequence < 50; ++sequence) {
    const PageId id{0x12345, sequence};
    const Page page = make_page(spec_, id);
    EXPECT_TRUE(page_matches(page.data(), spec_, id));
    EXPECT_EQ(examine_page(page.data(), spec_, id).fault, PageFault::kNone);
  }
}

TEST_P(WorkloadPage, AnySingleFlippedBitIsFound) {
  const PageId id{77, 3};
  Page page = make_page(spec_, id);
  for (size_t word = 0; word < kPageWords; ++word) {
    const uint64_t bit = uint64_t{1} << (word % 64);
    page[word] ^= bit;
    EXPECT_FALSE(page_matches(page.data(), spec_, id)) << word;
    const PageVerdict verdict = examine_page(page.data(), spec_, id);
    EXPECT_NE(verdict.fault, PageFault::kNone) << word;
    EXPECT_EQ(verdict.offset, word * 8);
    EXPECT_EQ(verdict.found_word ^ verdict.expected_word, bit);
    page[word] ^= bit;
  }
}

TEST_P(WorkloadPage, AnOlderWriteIsNeverTakenForTheNewOne) {
  for (uint32_t sequence = 1; sequence < 50; ++sequence) {
    const Page old = make_page(spec_, {5, sequence});
    const PageId expected{5, sequence + 1};
    // Two all-zero pages are the same page: nothing was lost.
    if (page_kind(spec_, {5, sequence}) == PageKind::kZero &&
        page_kind(spec_, expected) == PageKind::kZero) {
      continue;
    }
    EXPECT_FALSE(page_matches(old.data(), spec_, expected)) << sequence;
  }
}

TEST_P(WorkloadPage, OtherSeedsGiveOtherPages) {
  const PageId id{9, 1};
  if (page_kind(spec_, id) == PageKind::kZero) return;
  const Page page = make_page(spec_, id);
  EXPECT_FALSE(page_matches(page.data(), {GetParam(), 43}, id));
}

TEST(WorkloadPageFault, ALostPageIsNamed) {
  const ContentSpec spec{Content::kRandom, 1};
  const Page zeros{};
  const PageVerdict verdict = examine_page(zeros.data(), spec, {8, 2});
  EXPECT_EQ(verdict.fault, PageFault::kLost);
  EXPECT_EQ(verdict.expected_word, kPageMagic);
}

TEST(WorkloadPageFault, AStalePageIsNamedWithTheSequenceFound) {
  const ContentSpec spec{Content::kCompress, 1};
  const Page old = make_page(spec, {8, 6});
  const PageVerdict verdict = examine_page(old.data(), spec, {8, 7});
  EXPECT_EQ(verdict.fault, PageFault::kStale);
  EXPECT_EQ(verdict.found_sequence, 6U);
}

TEST(WorkloadPageFault, AStalePageIsNamedWhereZerosWereDue) {
  const ContentSpec spec{Content::kZero, 1};
  const Page old = make_page(spec, {8, 7});
  EXPECT_EQ(examine_page(old.data(), spec, {8, 8}).fault, PageFault::kStale);
}

TEST(WorkloadPageFault, AMisplacedPageIsNamedWithWhereItBelongs) {
  const ContentSpec spec{Content::kRandom, 1};
  const Page other = make_page(spec, {9, 7});
  const PageVerdict verdict = examine_page(other.data(), spec, {8, 7});
  EXPECT_EQ(verdict.fault, PageFault::kMisplaced);
  EXPECT_EQ(verdict.found_frame, 9U);
}

TEST(WorkloadPageFault, ATornPageIsCorrupt) {
  const ContentSpec spec{Content::kRandom, 1};
  Page page = make_page(spec, {8, 7});
  const Page old = make_page(spec, {8, 6});
  std::copy(old.begin() + 256, old.end(), page.begin() + 256);
  const PageVerdict verdict = examine_page(page.data(), spec, {8, 7});
  EXPECT_EQ(verdict.fault, PageFault::kCorrupt);
  EXPECT_EQ(verdict.offset, 2048U);
}

TEST(WorkloadContent, IsAsCompressibleAsItsNameSays) {
  const ContentSpec random{Content::kRandom, 1};
  const ContentSpec compress{Content::kCompress, 1};
  const ContentSpec zero{Content::kZero, 1};
  EXPECT_GE(lz4_size(make_page(random, {1, 1})), 4096);
  const int compressed = lz4_size(make_page(compress, {1, 1}));
  EXPECT_GT(compressed, 4096 / 4);
  EXPECT_LT(compressed, 4096 * 3 / 4);
  EXPECT_LT(lz4_size(make_page(zero, {1, 1})), 128);
}

TEST(WorkloadContent, ZeroAlternatesBetweenCleanPagesAndHeaders) {
  const ContentSpec spec{Content::kZero, 1};
  EXPECT_EQ(make_page(spec, {1, 2}), Page{});
  EXPECT_NE(make_page(spec, {1, 3}), Page{});
}

TEST(WorkloadContent, MixedHasAllThreeKinds) {
  const ContentSpec spec{Content::kMixed, 1};
  std::array<int, 4> count{};
  for (uint64_t frame = 0; frame < 4000; ++frame) {
    ++count[static_cast<size_t>(page_kind(spec, {frame, 1}))];
  }
  EXPECT_NEAR(count[static_cast<size_t>(PageKind::kZero)], 1000, 150);
  EXPECT_NEAR(count[static_cast<size_t>(PageKind::kCompress)], 2000, 150);
  EXPECT_NEAR(count[static_cast<size_t>(PageKind::kRandom)], 1000, 150);
}

}  // namespace
}  // namespace godwit::workload
