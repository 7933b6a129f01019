#include "devices/virtio/queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "devices/virtio/spec.h"
#include "tests/virtio/driver.h"

namespace godwit::devices::virtio {
namespace {

using testing::HasSubstr;

class QueueTest : public testing::Test {
 protected:
  static constexpr uint16_t kSize = 8;
  static constexpr Gpa kData{4 << 20};

  void begin(uint64_t features = kIndirect) {
    ASSERT_TRUE(Queue::check(driver_.setup(), *memory_));
    queue_.start(driver_.setup(), *memory_, features | kVersion1);
  }
  void expect_broken(const std::string& why) {
    EXPECT_EQ(queue_.pop(chain_), Queue::Pop::kBroken);
    EXPECT_THAT(queue_.error(), HasSubstr(why));
    // For good.
    EXPECT_EQ(queue_.pop(chain_), Queue::Pop::kBroken);
    EXPECT_FALSE(queue_.enable_notifications());
  }

  std::unique_ptr<vmm::GuestMemory> memory_ = *vmm::GuestMemory::create({.size = 16_MiB});
  DriverQueue driver_{*memory_, Gpa{1 << 20}, kSize};
  Queue queue_;
  Chain chain_;
};

TEST_F(QueueTest, HandsOutWhatWasAddedInOrderAndGivesItBack) {
  begin();
  EXPECT_EQ(queue_.pop(chain_), Queue::Pop::kEmpty);
  driver_.add({{kData, 16}, {kData + 4096, 512, true}, {kData + 8192, 1, true}}, 2);
  driver_.add({{kData + 100, 5}}, 6);
  ASSERT_EQ(queue_.pop(chain_), Queue::Pop::kChain);
  EXPECT_EQ(chain_.head, 2);
  ASSERT_EQ(chain_.readable.size(), 1u);
  EXPECT_EQ(chain_.readable[0].gpa, kData);
  EXPECT_EQ(chain_.readable_bytes, 16u);
  ASSERT_EQ(chain_.writable.size(), 2u);
  EXPECT_EQ(chain_.writable_bytes, 513u);
  queue_.push(chain_, 7);
  EXPECT_EQ(driver_.used_index(), 0) << "shown before publish()";
  EXPECT_TRUE(queue_.publish());
  const auto used = driver_.take_used();
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].head, 2);
  EXPECT_EQ(used[0].written, 7u);
  ASSERT_EQ(queue_.pop(chain_), Queue::Pop::kChain);
  EXPECT_EQ(chain_.head, 6);
  EXPECT_EQ(queue_.pop(chain_), Queue::Pop::kEmpty);
  EXPECT_FALSE(queue_.publish()) << "nothing new";
}

TEST_F(QueueTest, WrapsAroundManyTimes) {
  begin();
  for (unsigned i = 0; i < 70'000; ++i) {
    driver_.add({{kData, 4, true}}, static_cast<uint16_t>(i % kSize));
    ASSERT_EQ(queue_.pop(chain_), Queue::Pop::kChain);
    queue_.push(chain_, i);
    (void)queue_.publish();
    const auto used = driver_.take_used();
    ASSERT_EQ(used.size(), 1u);
    ASSERT_EQ(used[0].written, i);
  }
}

TEST_F(QueueTest, FollowsIndirectTables) {
  begin();
  driver_.add_indirect({{kData, 16}, {kData + 4096, 512, true}}, kData + 65536, 3);
  ASSERT_EQ(queue_.pop(chain_), Queue::Pop::kChain);
  EXPECT_EQ(chain_.head, 3);
  EXPECT_EQ(chain_.readable_bytes, 16u);
  EXPECT_EQ(chain_.writable_bytes, 512u);
}

TEST_F(QueueTest, RefusesIndirectTablesThatWereNotNegotiated) {
  begin(0);
  driver_.add_indirect({{kData, 16}}, kData + 65536, 3);
  expect_broken("indirect");
}

TEST_F(QueueTest, CutsALoopOfDescriptors) {
  begin();
  driver_.write_descriptor(0, kData.value, 4, kDescNext, 1);
  driver_.write_descriptor(1, kData.value, 4, kDescNext, 0);
  driver_.offer(0);
  expect_broken("more than 8 descriptors");
}

TEST_F(QueueTest, CutsALoopInAnIndirectTable) {
  begin();
  driver_.add_indirect({{kData, 16}, {kData, 16}}, kData + 65536, 3);
  const struct {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
  } loop{kData.value, 16, kDescNext, 0};
  ASSERT_TRUE(memory_->write(kData + 65536 + 16, std::as_bytes(std::span(&loop, 1))));
  expect_broken("more than 8 descriptors");
}

TEST_F(QueueTest, RefusesWhatLeadsOutOfTheRings) {
  const std::pair<std::function<void()>, const char*> lies[] = {
      {[&] { driver_.offer(kSize); }, "names descriptor 8 of 8"},
      {[&] { driver_.set_available_index(kSize + 1); }, "more than 8 ahead"},
      {[&] {
         driver_.write_descriptor(0, kData.value, 4, kDescNext, kSize);
         driver_.offer(0);
       },
       "next is 8 of 8"},
      {[&] {
         driver_.add({{Gpa{16 << 20}, 1}}, 0);
       },
       "not in RAM"},
      {[&] {
         driver_.add({{Gpa{(16 << 20) - 4}, 8}}, 0);
       },
       "not in RAM"},
      {[&] {
         driver_.add({{Gpa{UINT64_MAX - 2}, 8}}, 0);
       },
       "not in RAM"},
      {[&] {
         driver_.add({{kData, 4, true}, {kData, 4}}, 0);
       },
       "behind a writable"},
      {[&] {
         driver_.write_descriptor(0, kData.value, 15, kDescIndirect, 0);
         driver_.offer(0);
       },
       "table of 15 bytes"},
      {[&] {
         driver_.write_descriptor(0, UINT64_MAX - 15, 16, kDescIndirect, 0);
         driver_.offer(0);
       },
       "not in RAM"},
      {[&] {
         driver_.write_descriptor(0, kData.value, 16, kDescIndirect | kDescNext, 1);
         driver_.offer(0);
       },
       "indirect"},
  };
  for (const auto& [lie, why] : lies) {
    driver_ = DriverQueue(*memory_, Gpa{1 << 20}, kSize);
    begin();
    lie();
    expect_broken(why);
  }
}

TEST_F(QueueTest, RefusesRingsThatAreNotAlignedOrNotInRam) {
  const QueueSetup good = driver_.setup();
  const auto refused = [&](auto change) {
    QueueSetup setup = good;
    change(setup);
    return !Queue::check(setup, *memory_);
  };
  EXPECT_TRUE(refused([](auto& s) { s.size = 0; }));
  EXPECT_TRUE(refused([](auto& s) { s.size = 3; }));
  EXPECT_TRUE(refused([](auto& s) { s.descriptors += 8; }));
  EXPECT_TRUE(refused([](auto& s) { s.driver_area += 1; }));
  EXPECT_TRUE(refused([](auto& s) { s.device_area += 2; }));
  EXPECT_TRUE(refused([](auto& s) { s.descriptors = (16 << 20) - 16; }));
  EXPECT_TRUE(refused([](auto& s) { s.device_area = 0xfee00000; }));
  EXPECT_TRUE(refused([](auto& s) { s.driver_area = UINT64_MAX - 1; }));
}

TEST_F(QueueTest, InterruptsOnlyWhereTheDriverWantsIt) {
  begin();
  const uint16_t quiet = kAvailNoInterrupt;
  ASSERT_TRUE(
      memory_->write(Gpa{driver_.setup().driver_area}, std::as_bytes(std::span(&quiet, 1))));
  driver_.add({{kData, 4, true}}, 0);
  ASSERT_EQ(queue_.pop(chain_), Queue::Pop::kChain);
  queue_.push(chain_, 4);
  EXPECT_FALSE(queue_.publish());
}

TEST_F(QueueTest, EventIndicesSaveInterrupts) {
  begin(kEventIdx);
  int interrupts = 0;
  // The driver wants to hear of the fourth, counted from 0.
  driver_.set_used_event(4);
  for (uint16_t i = 0; i < 8; ++i) {
    driver_.add({{kData, 4, true}}, static_cast<uint16_t>(i % kSize));
    ASSERT_EQ(queue_.pop(chain_), Queue::Pop::kChain);
    queue_.push(chain_, 4);
    interrupts += queue_.publish() ? 1 : 0;
  }
  EXPECT_EQ(interrupts, 2) << "the first ever, because nothing is known yet, and the fourth";
}

TEST_F(QueueTest, NotificationsComeOnAfterALastLook) {
  for (const uint64_t features : {uint64_t{0}, kEventIdx}) {
    driver_ = DriverQueue(*memory_, Gpa{1 << 20}, kSize);
    begin(features);
    queue_.disable_notifications();
    EXPECT_FALSE(queue_.enable_notifications());
    queue_.disable_notifications();
    driver_.add({{kData, 4}}, 0);
    EXPECT_TRUE(queue_.enable_notifications()) << "what came in between was overlooked";
  }
}

TEST_F(QueueTest, MarksEachPageThatItWrites) {
  begin(kEventIdx);
  memory_->record_host_writes(true);
  driver_.add({{kData + 4000, 200, true}, {kData + 65536, 10, true}}, 0);
  vmm::DirtyBitmap dirty(memory_->size().pages());
  memory_->drain_host_writes(dirty);
  dirty.clear_all();
  ASSERT_EQ(queue_.pop(chain_), Queue::Pop::kChain);
  queue_.push(chain_, 150);
  (void)queue_.publish();
  memory_->drain_host_writes(dirty);
  EXPECT_TRUE(dirty.test(PageIndex{kData.value / kPageSize}));
  EXPECT_TRUE(dirty.test(PageIndex{kData.value / kPageSize + 1}));
  EXPECT_FALSE(dirty.test(PageIndex{(kData.value + 65536) / kPageSize})) << "never written";
  EXPECT_TRUE(dirty.test(PageIndex{driver_.setup().device_area / kPageSize}));
  EXPECT_EQ(dirty.count(), 3u);
}

}  // namespace
}  // namespace godwit::devices::virtio
