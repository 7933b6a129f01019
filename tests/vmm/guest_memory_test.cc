#include "vmm/memory/guest_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace godwit::vmm {
namespace {

std::unique_ptr<GuestMemory> make(ByteCount size) {
  return GuestMemory::create({.size = size}).value();
}

std::vector<std::byte> bytes(size_t n, int value) {
  return std::vector(n, std::byte(value));
}

TEST(GuestMemory, LeavesTheHoleUnderFourGiB) {
  const auto memory = make(5_GiB);
  ASSERT_EQ(memory->regions().size(), 2u);
  EXPECT_EQ(memory->regions()[0].size, 3_GiB);
  EXPECT_EQ(memory->regions()[1].gpa, kHoleEnd);
  EXPECT_EQ(memory->regions()[1].size, 2_GiB);
  EXPECT_EQ(memory->regions()[1].first_page.value, (3_GiB).pages());
  const auto data = bytes(8, 7);
  EXPECT_TRUE(memory->write(Gpa{kHoleEnd.value + (2_GiB).value - 8}, data));
  EXPECT_EQ(*(memory->page(PageIndex{(5_GiB).pages() - 1}) + kPageSize - 1), std::byte{7});
}

TEST(GuestMemory, AccessOutsideRamIsAnError) {
  const auto memory = make(5_GiB);
  const auto data = bytes(8, 7);
  EXPECT_FALSE(memory->write(kHoleStart, data));
  EXPECT_FALSE(memory->write(Gpa{kHoleStart.value - 4}, data));
  EXPECT_FALSE(memory->write(Gpa{kHoleEnd.value + (2_GiB).value - 4}, data));
  EXPECT_FALSE(memory->write(Gpa{~uint64_t{0} - 3}, data));
  EXPECT_FALSE(memory->at(Gpa{0}, ByteCount{~uint64_t{0}}));
}

TEST(GuestMemory, RefusesSizesThatCannotBe) {
  EXPECT_FALSE(GuestMemory::create({.size = 8_MiB}));
  EXPECT_FALSE(GuestMemory::create({.size = ByteCount{(16_MiB).value + 4096}}));
  EXPECT_FALSE(GuestMemory::create({.size = ByteCount{~uint64_t{0}}}));
  EXPECT_FALSE(GuestMemory::create({.size = 64_MiB, .hugepage_size = 4_MiB}));
}

TEST(GuestMemory, OnlyTouchedPagesCountAsTouched) {
  const auto memory = make(1_GiB);
  EXPECT_TRUE(memory->touched().empty());
  ASSERT_TRUE(memory->write(Gpa{(512_MiB).value}, bytes(2 * kPageSize, 1)));
  const auto ranges = memory->touched();
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].first.value, (512_MiB).pages());
  EXPECT_EQ(ranges[0].count, 2u);
}

TEST(GuestMemory, DiscardedPagesReadAsZeroesAndAreUntouched) {
  const auto memory = make(5_GiB);
  // Behind the hole, where guest addresses and places in the file differ.
  const Gpa start{kHoleEnd.value + (1_MiB).value};
  ASSERT_TRUE(memory->write(start, bytes(8 * kPageSize, 1)));
  ASSERT_TRUE(memory->discard(start + 2 * kPageSize, ByteCount{3 * kPageSize}));
  const auto now = memory->at(start, ByteCount{8 * kPageSize}).value();
  const auto page = [&](size_t i) { return now.subspan(i * kPageSize, kPageSize); };
  const auto filled = bytes(kPageSize, 1);
  for (const size_t kept : {0, 1, 5, 6, 7}) EXPECT_TRUE(std::ranges::equal(page(kept), filled));
  const uint64_t first = (3_GiB).pages() + (1_MiB).pages();
  const auto ranges = memory->touched();
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].first.value, first);
  EXPECT_EQ(ranges[0].count, 2u);
  EXPECT_EQ(ranges[1].first.value, first + 5);
  EXPECT_EQ(ranges[1].count, 3u);
  for (const size_t gone : {2, 3, 4}) EXPECT_EQ(page(gone).front(), std::byte{0});
}

TEST(GuestMemory, DiscardLeavesPartsOfPagesAlone) {
  const auto memory = make(16_MiB);
  const Gpa start{(1_MiB).value};
  ASSERT_TRUE(memory->write(start, bytes(3 * kPageSize, 1)));
  ASSERT_TRUE(memory->discard(start + 1, ByteCount{2 * kPageSize - 2}));
  EXPECT_TRUE(memory->touched().size() == 1 && memory->touched()[0].count == 3);
  ASSERT_TRUE(memory->discard(start + 1, ByteCount{2 * kPageSize}));
  EXPECT_EQ(memory->at(start + (kPageSize - 1), ByteCount{1})->front(), std::byte{1});
  EXPECT_EQ(memory->at(start + 2 * kPageSize, ByteCount{1})->front(), std::byte{1});
  EXPECT_EQ(memory->at(start + kPageSize, ByteCount{1})->front(), std::byte{0});
  EXPECT_FALSE(memory->discard(Gpa{(16_MiB).value - kPageSize}, ByteCount{2 * kPageSize}));
}

TEST(GuestMemory, DiscardedPagesAreDirty) {
  const auto memory = make(16_MiB);
  memory->record_host_writes(true);
  ASSERT_TRUE(memory->discard(Gpa{10 * kPageSize + 5}, ByteCount{3 * kPageSize}));
  DirtyBitmap dirty(memory->page_count());
  memory->drain_host_writes(dirty);
  EXPECT_EQ(dirty.count(), 2u);
  EXPECT_TRUE(dirty.test(PageIndex{11}) && dirty.test(PageIndex{12}));
}

TEST(GuestMemory, DiscardKeepsToHugePages) {
  auto memory = GuestMemory::create({.size = 16_MiB, .hugepage_size = 2_MiB});
  if (!memory) GTEST_SKIP() << memory.error().message;
  ASSERT_TRUE((*memory)->write(Gpa{0}, bytes(8 << 20, 1)));
  ASSERT_TRUE((*memory)->discard(Gpa{kPageSize}, 4_MiB));
  for (const uint64_t kept : {uint64_t{0}, (2_MiB).value - 1, (4_MiB).value})
    EXPECT_EQ((*memory)->at(Gpa{kept}, ByteCount{1})->front(), std::byte{1}) << kept;
  EXPECT_EQ((*memory)->at(Gpa{(2_MiB).value}, ByteCount{1})->front(), std::byte{0});
}

TEST(GuestMemory, PreallocTouchesEverything) {
  const auto memory = GuestMemory::create({.size = 32_MiB, .prealloc = true}).value()->touched();
  ASSERT_EQ(memory.size(), 1u);
  EXPECT_EQ(memory[0].count, (32_MiB).pages());
}

TEST(GuestMemory, RecordsHostWritesOnlyWhileAsked) {
  const auto memory = make(64_MiB);
  DirtyBitmap dirty(memory->page_count());
  ASSERT_TRUE(memory->write(Gpa{0}, bytes(1, 1)));
  memory->record_host_writes(true);
  ASSERT_TRUE(memory->write(Gpa{2 * kPageSize - 1}, bytes(2, 1)));  // straddles two pages
  memory->drain_host_writes(dirty);
  EXPECT_EQ(dirty.count(), 2u);
  EXPECT_TRUE(dirty.test(PageIndex{1}));
  EXPECT_TRUE(dirty.test(PageIndex{2}));
  dirty.clear_all();
  memory->drain_host_writes(dirty);
  EXPECT_TRUE(dirty.empty());
  memory->record_host_writes(false);
  ASSERT_TRUE(memory->write(Gpa{0}, bytes(1, 1)));
  memory->drain_host_writes(dirty);
  EXPECT_TRUE(dirty.empty());
}

TEST(DirtyBitmap, SetsRangesAcrossWords) {
  DirtyBitmap bitmap(200);
  bitmap.set_range(PageIndex{60}, 75);
  EXPECT_EQ(bitmap.count(), 75u);
  EXPECT_FALSE(bitmap.test(PageIndex{59}));
  EXPECT_TRUE(bitmap.test(PageIndex{60}));
  EXPECT_TRUE(bitmap.test(PageIndex{134}));
  EXPECT_FALSE(bitmap.test(PageIndex{135}));
  uint64_t next = 60;
  bitmap.for_each([&](PageIndex page) { EXPECT_EQ(page.value, next++); });
  EXPECT_EQ(next, 135u);
}

}  // namespace
}  // namespace godwit::vmm
