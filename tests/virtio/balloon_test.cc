#include "devices/virtio/balloon.h"

#include <gtest/gtest.h>

#include "devices/virtio/spec.h"
#include "tests/devices/state_torture.h"
#include "tests/virtio/machine.h"

namespace godwit::devices::virtio {
namespace {

constexpr BalloonConfig kWithHints{.free_page_hint = true};
constexpr uint16_t kSize = 8;
constexpr uint64_t kStatistics = feature(1);
constexpr uint64_t kReporting = feature(5);
constexpr Gpa kNumbers{2 << 20};
constexpr Gpa kPages{4 << 20};
constexpr uint32_t kFirst = kPages.value >> kPageShift;

class BalloonTest : public testing::Test {
 protected:
  void start(uint64_t features = kStatistics | kReporting) {
    a_->device.resume();
    a_->driver.start(features, 5, kSize);
  }
  void fill(uint32_t pages) {
    ASSERT_TRUE(a_->memory->write(kPages, std::vector(pages * kPageSize, std::byte{7})));
  }
  [[nodiscard]] bool filled(uint32_t page) const {
    return a_->memory->at(kPages + page * kPageSize, ByteCount{1})->front() == std::byte{7};
  }
  // As the driver gives (queue 0) or takes back (queue 1) pages.
  void give(const std::vector<uint32_t>& numbers, uint16_t queue = 0) {
    ASSERT_TRUE(a_->memory->write(kNumbers, std::as_bytes(std::span(numbers))));
    const auto bytes = static_cast<uint32_t>(numbers.size() * 4);
    a_->driver.queue(queue).add({{kNumbers, 2}, {kNumbers + 2, bytes - 2}}, 0);
    a_->driver.kick(queue);
    ASSERT_EQ(a_->driver.queue(queue).wait_used(1).size(), 1u);
  }
  [[nodiscard]] uint64_t touched_pages() const {
    uint64_t pages = 0;
    for (const vmm::PageRange& range : a_->memory->touched()) pages += range.count;
    return pages;
  }

  std::unique_ptr<TestMachine> a_ =
      std::make_unique<TestMachine>(make_memory(), std::make_unique<Balloon>(kWithHints));
};

TEST_F(BalloonTest, TellsTheDriverItsTargetAndHearsWhatItHas) {
  start();
  Balloon& balloon = a_->model<Balloon>();
  EXPECT_EQ(a_->driver.read_device(0, 8), 0u);
  balloon.set_target(1234);
  EXPECT_TRUE(a_->msi.wait_for(5, 1));
  EXPECT_EQ(a_->driver.read_device(0, 4), 1234u);
  a_->driver.write(0x2004, 77, 4);
  EXPECT_EQ(balloon.actual(), 77u);
  EXPECT_EQ(a_->driver.read_device(4, 4), 77u);
  a_->driver.write(0x2000, 5, 4);
  EXPECT_EQ(balloon.target(), 1234u) << "is the device's alone";
  a_->driver.reset();
  EXPECT_EQ(balloon.actual(), 0u);
}

TEST_F(BalloonTest, GivesInflatedPagesBackToTheHost) {
  start();
  fill(16);
  const uint64_t before = touched_pages();
  give({kFirst + 9, kFirst + 3, kFirst + 2, kFirst + 4, kFirst + 3});
  for (uint32_t page = 0; page < 16; ++page) {
    if (page == 2 || page == 3 || page == 4 || page == 9) continue;
    EXPECT_TRUE(filled(page)) << page;
  }
  EXPECT_EQ(touched_pages(), before + 1 - 4) << "one for the numbers";
  for (const uint32_t page : {2, 3, 4, 9}) EXPECT_FALSE(filled(page)) << page;
  give({kFirst + 2}, 1);
  ASSERT_TRUE(a_->memory->write(kPages + 2 * kPageSize, std::vector(1, std::byte{7})));
  EXPECT_TRUE(filled(2));
}

TEST_F(BalloonTest, GivesReportedPagesBackToTheHost) {
  for (const uint16_t queue : {uint16_t{3}, uint16_t{4}}) {
    start(kStatistics | kReporting | (queue == 4 ? feature(3) : 0));
    fill(64);
    // The second range begins and ends inside of pages.
    a_->driver.queue(queue).add(
        {{kPages, 16 * kPageSize, true}, {kPages + 32 * kPageSize + 1, 3 * kPageSize, true}}, 0);
    a_->driver.kick(queue);
    ASSERT_EQ(a_->driver.queue(queue).wait_used(1).size(), 1u);
    for (uint32_t page = 0; page < 64; ++page)
      EXPECT_EQ(filled(page), page >= 16 && page != 33 && page != 34) << page;
  }
}

TEST_F(BalloonTest, WithoutTheFeatureNoReportIsHeeded) {
  start(kStatistics);
  fill(4);
  a_->driver.queue(4).add({{kPages, 4 * kPageSize, true}}, 0);
  a_->driver.kick(4);
  ASSERT_EQ(a_->driver.queue(4).wait_used(1).size(), 1u);
  EXPECT_TRUE(filled(0));
}

// What a migration that is under way must send again.
TEST_F(BalloonTest, PagesThatAreGivenAreDirty) {
  start();
  fill(8);
  a_->memory->record_host_writes(true);
  give({kFirst + 1, kFirst + 2});
  vmm::DirtyBitmap dirty(a_->memory->page_count());
  a_->memory->drain_host_writes(dirty);
  EXPECT_TRUE(dirty.test(PageIndex{kFirst + 1}) && dirty.test(PageIndex{kFirst + 2}));
  EXPECT_FALSE(dirty.test(PageIndex{kFirst}) || dirty.test(PageIndex{kFirst + 3}));
}

TEST_F(BalloonTest, StandsStillWhenGivenWhatIsNoPage) {
  start();
  fill(4);
  const std::vector<uint32_t> numbers{kFirst, 0xffffffff};
  ASSERT_TRUE(a_->memory->write(kNumbers, std::as_bytes(std::span(numbers))));
  a_->driver.queue(0).add({{kNumbers, 8}}, 0);
  a_->driver.kick(0);
  ASSERT_TRUE(a_->msi.wait_for(5, 1));
  EXPECT_NE(a_->driver.status() & kNeedsReset, 0);
  a_->driver.start(0, 5, kSize);
  a_->driver.queue(0).add({{kNumbers, 4 * Balloon::kMostGiven + 4}}, 0);
  a_->driver.kick(0);
  ASSERT_TRUE(a_->msi.wait_for(5, 2));
  EXPECT_NE(a_->driver.status() & kNeedsReset, 0);
}

// More than one round of work, and a pause in the middle of it.
TEST_F(BalloonTest, GoesOnWhereAPauseInterruptedIt) {
  start();
  const std::vector<uint32_t> numbers(Balloon::kMostGiven, kFirst);
  ASSERT_TRUE(a_->memory->write(kNumbers, std::as_bytes(std::span(numbers))));
  for (uint16_t i = 0; i < kSize; ++i) a_->driver.queue(0).add({{kNumbers, 4 * 4096}}, i);
  a_->driver.kick(0);
  auto b = move_to(*a_, std::make_unique<Balloon>(kWithHints));
  b->device.resume();
  b->driver.kick(0);
  (void)b->driver.queue(0).wait_used(static_cast<size_t>(kSize));
  EXPECT_EQ(b->driver.queue(0).used_index(), kSize);
}

TEST_F(BalloonTest, ReadsStatisticsAndAsksForNewerOnes) {
  start();
  Balloon& balloon = a_->model<Balloon>();
  const auto put = [&](uint64_t free) {
    ByteWriter out;
    out.u16(4), out.u64(free), out.u16(99), out.u64(1), out.u16(6), out.u64(free * 2), out.u16(4);
    ASSERT_TRUE(a_->memory->write(kNumbers, out.view()));
    a_->driver.queue(2).add({{kNumbers, static_cast<uint32_t>(out.size())}}, 0);
    a_->driver.kick(2);
  };
  EXPECT_FALSE(balloon.statistics().free);
  // That it has asked in vain by now.
  a_->device.quiesce();
  a_->device.resume();
  put(1000);
  for (const uint64_t fresh : {2000, 3000}) {
    (void)balloon.statistics();
    ASSERT_EQ(a_->driver.queue(2).wait_used(1).size(), 1u);
    put(fresh);
    // Nothing tells when it has been read, but a pause waits for it.
    a_->device.quiesce();
    a_->device.resume();
    const BalloonStatistics now = balloon.statistics();
    ASSERT_TRUE(now.free && now.available);
    EXPECT_EQ(now.free->value, fresh);
    EXPECT_EQ(now.available->value, 2 * fresh);
    ASSERT_EQ(a_->driver.queue(2).wait_used(1).size(), 1u);
    put(fresh);
  }
}

TEST_F(BalloonTest, MovesWithItsSizeAndTellsTheDriverTheTargetAgain) {
  start();
  a_->driver.write(0x2004, 50, 4);
  a_->device.quiesce();
  a_->model<Balloon>().set_target(100);  // the driver has not heard of it
  auto b = move_to(*a_, std::make_unique<Balloon>(kWithHints));
  b->device.resume();
  EXPECT_TRUE(b->msi.wait_for(5, 1));
  EXPECT_EQ(b->driver.read_device(0, 8), uint64_t{50} << 32 | 100);
}

TEST_F(BalloonTest, StandsAnyState) {
  start();
  a_->device.quiesce();
  struct Fixture {
    explicit Fixture(const std::shared_ptr<vmm::GuestMemory>& memory)
        : machine(memory, std::make_unique<Balloon>(kWithHints)) {}
    TestMachine machine;
    PciDevice& device = machine.device;
  };
  torture_state(saved(a_->device), [&] { return std::make_unique<Fixture>(a_->memory); });
}

}  // namespace
}  // namespace godwit::devices::virtio
