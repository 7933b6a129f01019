#include "devices/block/dirty_blocks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace godwit::devices {
namespace {

constexpr uint64_t kGranule = vmm::kStorageGranule;

std::vector<uint64_t> harvested(DirtyBlocks& blocks, uint64_t granules) {
  vmm::DirtyBitmap set(granules);
  blocks.harvest(set);
  std::vector<uint64_t> all;
  set.for_each([&](PageIndex granule) { all.push_back(granule.value); });
  return all;
}

TEST(DirtyBlocks, MarksEveryGranuleThatARequestTouches) {
  DirtyBlocks blocks(200 * kGranule);
  EXPECT_FALSE(blocks.tracking());
  blocks.start();
  EXPECT_TRUE(blocks.tracking());
  blocks.mark(0, 512);
  blocks.mark(3 * kGranule - 512, 1024);
  blocks.mark(62 * kGranule, 4 * kGranule);
  EXPECT_EQ(harvested(blocks, 200), (std::vector<uint64_t>{0, 2, 3, 62, 63, 64, 65}));
  EXPECT_EQ(harvested(blocks, 200), std::vector<uint64_t>{}) << "forgotten";
  blocks.mark(0, 200 * kGranule);
  EXPECT_EQ(harvested(blocks, 200).size(), 200u);
}

TEST(DirtyBlocks, LeavesOutWhatLiesBeyondTheEnd) {
  DirtyBlocks blocks(kGranule + 512);
  blocks.start();
  blocks.mark(kGranule, 1 << 30);
  blocks.mark(2 * kGranule, 512);
  blocks.mark(512, 0);
  EXPECT_EQ(harvested(blocks, 2), std::vector<uint64_t>{1});
}

TEST(DirtyBlocks, StartsAfreshEachTime) {
  DirtyBlocks blocks(4 * kGranule);
  blocks.start();
  blocks.mark(0, 512);
  blocks.stop();
  EXPECT_FALSE(blocks.tracking());
  blocks.start();
  EXPECT_EQ(harvested(blocks, 4), std::vector<uint64_t>{});
}

TEST(DirtyBlocks, AddsToWhatIsInTheSet) {
  DirtyBlocks blocks(4 * kGranule);
  blocks.start();
  blocks.mark(0, 512);
  vmm::DirtyBitmap set(4);
  set.set(PageIndex{2});
  blocks.harvest(set);
  EXPECT_TRUE(set.test(PageIndex{0}));
  EXPECT_TRUE(set.test(PageIndex{2}));
}

// Whatever is marked while somebody harvests is in one of the harvests.
TEST(DirtyBlocks, LosesNoMarkBetweenThreads) {
  constexpr uint64_t kGranules = 64 * 8;
  constexpr int kThreads = 3;
  DirtyBlocks blocks(kGranules * kGranule);
  blocks.start();
  std::atomic<int> done{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t g = static_cast<uint64_t>(t); g < kGranules; g += kThreads) {
        blocks.mark(g * kGranule, kGranule);
        if (g % 16 == 0) std::this_thread::yield();
      }
      ++done;
    });
  }
  std::vector<int> seen(kGranules);
  for (bool last = false; !last;) {
    last = done == kThreads;
    for (const uint64_t granule : harvested(blocks, kGranules)) ++seen[granule];
  }
  EXPECT_EQ(seen, std::vector<int>(kGranules, 1));
}

}  // namespace
}  // namespace godwit::devices
