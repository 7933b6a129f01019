// Free page hinting, with drivers that do as Linux does and with drivers that lie.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "devices/virtio/balloon.h"
#include "devices/virtio/spec.h"
#include "tests/virtio/machine.h"

namespace godwit::devices::virtio {
namespace {

constexpr BalloonConfig kWithHints{.free_page_hint = true};
constexpr uint64_t kStatistics = feature(1);
constexpr uint64_t kHint = feature(3);
constexpr uint64_t kPoison = feature(4);
constexpr uint64_t kReporting = feature(5);
constexpr uint64_t kAll = kStatistics | kHint | kPoison | kReporting;
constexpr uint16_t kHintQueue = 3;
constexpr uint16_t kReportQueue = 4;
constexpr uint16_t kConfigVector = 5;
constexpr uint32_t kCommand = 8;
constexpr uint32_t kPoisonValue = 0x200c;  // in BAR 0
constexpr uint32_t kStop = FreePageHinting::kStop;
constexpr uint32_t kDone = FreePageHinting::kDone;
constexpr Gpa kId{3 << 20};
constexpr Gpa kPages{4 << 20};
constexpr uint64_t kFirst = kPages.value >> kPageShift;

class Sink final : public vmm::FreePageSink {
 public:
  void add_free(PageIndex first, uint64_t count) noexcept override {
    ++calls;
    const std::lock_guard lock(mutex_);
    for (uint64_t i = 0; i < count; ++i) pages_.insert(first.value + i);
  }
  [[nodiscard]] std::set<uint64_t> pages() const {
    const std::lock_guard lock(mutex_);
    return pages_;
  }
  std::atomic<uint64_t> calls{0};

 private:
  mutable std::mutex mutex_;
  std::set<uint64_t> pages_;
};

class BalloonHintsTest : public testing::Test {
 protected:
  void start(uint64_t features = kAll, const std::vector<uint16_t>& queues = {0, 1, 2, 3, 4},
             uint32_t poison = 0) {
    a_->device.resume();
    a_->driver.enable_pci();
    a_->driver.reset();
    ASSERT_TRUE(a_->driver.negotiate(features));
    for (const uint16_t q : queues) a_->driver.add_queue(q, 8);
    if (poison != 0) a_->driver.write(kPoisonValue, poison, 4);
    a_->driver.driver_ok();
  }
  [[nodiscard]] vmm::FreePageHints& hints() { return *a_->model<Balloon>().free_page_hints(); }
  [[nodiscard]] uint64_t command() { return a_->driver.read_device(kCommand, 4); }
  // Offers a request and waits until it is given back.
  void request(const std::vector<DriverQueue::Part>& parts, uint16_t queue = kHintQueue) {
    a_->driver.queue(queue).add(parts, 0);
    a_->driver.kick(queue);
    ASSERT_EQ(a_->driver.queue(queue).wait_used(1).size(), 1u);
  }
  void say(uint32_t id) {
    ASSERT_TRUE(a_->memory->write(kId, std::as_bytes(std::span(&id, 1))));
    request({{kId, 4}});
  }
  void hint(uint64_t page, uint32_t pages) {
    request({{kPages + page * kPageSize, pages * static_cast<uint32_t>(kPageSize), true}});
  }
  static std::set<uint64_t> pages(std::initializer_list<uint64_t> from_first) {
    std::set<uint64_t> all;
    for (const uint64_t page : from_first) all.insert(kFirst + page);
    return all;
  }

  std::unique_ptr<TestMachine> a_ =
      std::make_unique<TestMachine>(make_memory(), std::make_unique<Balloon>(kWithHints));
  Sink sink_;
};

TEST_F(BalloonHintsTest, PassesOnWhatTheDriverDoesNotUse) {
  start();
  EXPECT_EQ(command(), kStop);
  ASSERT_TRUE(hints().begin(sink_));
  ASSERT_TRUE(a_->msi.wait_for(kConfigVector, 1));
  EXPECT_EQ(command(), 2u);
  say(2);
  hint(3, 2);
  // As pieces of one request; one begins and ends inside of pages.
  request({{kPages + 8 * kPageSize, kPageSize, true},
           {kPages + 16 * kPageSize + 1, 3 * kPageSize, true},
           {kPages + 32 * kPageSize + 8, 64, true}});
  EXPECT_EQ(sink_.pages(), pages({3, 4, 8, 17, 18}));
  EXPECT_EQ(command(), 2u);
  say(kStop);
  EXPECT_EQ(command(), kDone) << "it has no more to give, so it gets its pages back";
  EXPECT_TRUE(a_->msi.wait_for(kConfigVector, 2));
  hints().end();
  EXPECT_EQ(command(), kDone);
  a_->device.quiesce();
  EXPECT_EQ(a_->msi.count(kConfigVector), 2) << "nothing new to tell";
}

TEST_F(BalloonHintsTest, OnlyCountsWhatComesBehindTheNumberOfThisSession) {
  start();
  hint(0, 1);
  say(2);
  hint(1, 1);
  ASSERT_TRUE(hints().begin(sink_));
  hint(2, 1);
  for (const uint32_t wrong : {kStop, kDone, 3u, 0xffffffffu}) {
    say(wrong);
    hint(3, 1);
  }
  EXPECT_EQ(sink_.calls, 0u) << "a number that was said before it was given out counts no more";
  EXPECT_EQ(command(), 2u) << "no end of something that was not begun";
  say(2);
  hint(4, 1);
  hints().end();
  EXPECT_EQ(command(), kDone);
  hint(5, 1);
  ASSERT_TRUE(hints().begin(sink_));
  EXPECT_EQ(command(), 3u);
  hint(6, 1);
  say(2);
  hint(7, 1);
  say(3);
  hint(8, 1);
  say(kStop);
  hint(9, 1);
  say(3);
  hint(10, 1);
  say(kDone);
  hint(11, 1);
  hints().end();
  EXPECT_EQ(sink_.pages(), pages({4, 8}));
}

TEST_F(BalloonHintsTest, WithoutADriverThatHintsThereIsNoSession) {
  EXPECT_FALSE(hints().begin(sink_)) << "no driver";
  start(kStatistics | kReporting, {0, 1, 2, 4});
  EXPECT_FALSE(hints().begin(sink_)) << "not negotiated";
  hints().end();
  EXPECT_EQ(command(), kStop);
  start();
  ASSERT_TRUE(hints().begin(sink_));
  hints().end();
  a_->driver.reset();
  EXPECT_FALSE(hints().begin(sink_)) << "gone";
}

TEST_F(BalloonHintsTest, SwitchedOffItIsTheBalloonOfBefore) {
  Balloon off({.free_page_hint = false});
  EXPECT_EQ(off.free_page_hints(), nullptr);
  EXPECT_EQ(off.features() & (kHint | kPoison), 0u);
  EXPECT_EQ(off.state_version(), 1);
  EXPECT_EQ(off.traits(), "");
  ByteWriter state;
  off.save(state);
  EXPECT_EQ(state.size(), 8u);
  EXPECT_EQ(Balloon().features(), off.features()) << "unless asked for";
  Balloon on(kWithHints);
  EXPECT_EQ(on.traits(), "free-page-hint=on");
  EXPECT_EQ(on.state_version(), 2);
  ByteReader in(state.view(), "version 1");
  EXPECT_TRUE(on.load(in, 1));
}

TEST_F(BalloonHintsTest, APoisonValueKeepsFreePagesAsTheyAre) {
  for (const uint32_t poison : {0xaaaaaaaau, 0u}) {
    start(kAll, {0, 1, 2, 3, 4}, poison);
    EXPECT_EQ(a_->driver.read_device(12, 4), poison);
    ASSERT_TRUE(a_->memory->write(kPages, std::vector(kPageSize, std::byte{0xaa})));
    request({{kPages, kPageSize, true}}, kReportQueue);
    const bool kept = a_->memory->at(kPages, ByteCount{1})->front() == std::byte{0xaa};
    EXPECT_EQ(kept, poison != 0);
    EXPECT_EQ(hints().begin(sink_), poison == 0);
    hints().end();
  }
  start(kStatistics | kHint | kReporting, {0, 1, 2, 3, 4}, 0xaaaaaaaa);
  EXPECT_TRUE(hints().begin(sink_)) << "a value without the feature means nothing";
  hints().end();
}

// 5.5.2, and Linux until 6.11, which leaves out the numbers of what it does not use.
TEST_F(BalloonHintsTest, FindsTheQueueHoweverTheDriverCounts) {
  struct Way {
    uint64_t features;
    std::vector<uint16_t> queues;
    std::optional<uint16_t> hints;
    std::optional<uint16_t> reports;
  };
  const Way ways[] = {
      {kAll, {0, 1, 2, 3, 4}, 3, 4},
      {kHint | kReporting, {0, 1, 3, 4}, 3, 4},
      {kHint | kReporting, {0, 1, 2, 3}, 2, 3},
      {kHint, {0, 1, 3}, 3, {}},
      {kHint, {0, 1, 2}, 2, {}},
      {kStatistics | kReporting, {0, 1, 2, 4}, {}, 4},
      {kStatistics | kReporting, {0, 1, 2, 3}, {}, 3},
      {kReporting, {0, 1, 4}, {}, 4},
      {kReporting, {0, 1, 2}, {}, 2},
  };
  for (const Way& way : ways) {
    start(way.features, way.queues);
    Sink sink;
    EXPECT_EQ(hints().begin(sink), way.hints.has_value());
    if (way.hints) {
      const auto id = static_cast<uint32_t>(command());
      ASSERT_TRUE(a_->memory->write(kId, std::as_bytes(std::span(&id, 1))));
      request({{kId, 4}, {kPages, kPageSize, true}}, *way.hints);
      EXPECT_EQ(sink.pages(), pages({0}));
    }
    hints().end();
    if (way.reports) {
      ASSERT_TRUE(a_->memory->write(kPages, std::vector(kPageSize, std::byte{7})));
      request({{kPages, kPageSize, true}}, *way.reports);
      EXPECT_EQ(a_->memory->at(kPages, ByteCount{1})->front(), std::byte{0});
    }
  }
}

TEST_F(BalloonHintsTest, StandsStillWhenHintedWhatIsNoRam) {
  for (const uint64_t lie : {uint64_t{15} << 20, uint64_t{3} << 30, uint64_t{0} - kPageSize}) {
    start();
    ASSERT_TRUE(hints().begin(sink_));
    say(static_cast<uint32_t>(command()));
    a_->driver.queue(kHintQueue).add({{kPages, kPageSize, true}, {Gpa{lie}, 4 << 20, true}}, 0);
    const int before = a_->msi.count(kConfigVector);
    a_->driver.kick(kHintQueue);
    ASSERT_TRUE(a_->msi.wait_for(kConfigVector, before + 1));
    EXPECT_NE(a_->driver.status() & kNeedsReset, 0);
    hints().end();
    EXPECT_EQ(command(), kDone);
    EXPECT_EQ(sink_.calls, 0u);
  }
}

TEST_F(BalloonHintsTest, OfAnOverlongRequestTheBeginningCounts) {
  a_ = std::make_unique<TestMachine>(make_memory(512_MiB), std::make_unique<Balloon>(kWithHints));
  start();
  ASSERT_TRUE(hints().begin(sink_));
  say(2);
  request({{Gpa{16 << 20}, 100 << 20, true}, {Gpa{256 << 20}, 100 << 20, true}});
  EXPECT_EQ(sink_.pages().size(), FreePageHinting::kMostHinted >> kPageShift);
  EXPECT_EQ(sink_.pages().count((256 << 20) >> kPageShift), 1u);
  hints().end();
}

// Whatever the guest goes on saying: nothing reaches the sink after end(), and a pause is possible.
TEST_F(BalloonHintsTest, ADriverThatHintsForeverIsNotHeardForever) {
  start();
  for (int session = 0; session < 20; ++session) {
    auto sink = std::make_unique<Sink>();
    ASSERT_TRUE(hints().begin(*sink));
    say(static_cast<uint32_t>(command()));
    std::jthread driver([&](const std::stop_token& stop) {
      DriverQueue& queue = a_->driver.queue(kHintQueue);
      while (!stop.stop_requested()) {
        queue.add({{kPages, 16 * kPageSize, true}}, 0);
        a_->driver.kick(kHintQueue);
        if (queue.wait_used(1).size() != 1) return;
      }
    });
    while (sink->calls == 0) std::this_thread::yield();
    hints().end();
    const uint64_t calls = sink->calls;
    a_->device.quiesce();
    EXPECT_EQ(sink->calls, calls);
    sink.reset();  // would be written to
    a_->device.resume();
  }
}

TEST_F(BalloonHintsTest, AResetInASessionVoidsWhatTheDriverSaid) {
  start();
  ASSERT_TRUE(hints().begin(sink_));
  say(2);
  start();
  hint(0, 1);
  EXPECT_EQ(sink_.calls, 0u);
  EXPECT_EQ(command(), 2u) << "the new driver may answer";
  say(2);
  hint(1, 1);
  EXPECT_EQ(sink_.pages(), pages({1}));
  a_->driver.reset();
  hints().end();
}

TEST_F(BalloonHintsTest, AGuestThatMovesIsToldThatItIsDone) {
  start();
  ASSERT_TRUE(hints().begin(sink_));
  hints().end();
  ASSERT_TRUE(hints().begin(sink_));
  say(3);
  auto b = move_to(*a_, std::make_unique<Balloon>(kWithHints));
  hints().end();
  b->device.resume();
  EXPECT_TRUE(b->msi.wait_for(kConfigVector, 1));
  EXPECT_EQ(b->driver.read_device(kCommand, 4), kDone);
  a_ = std::move(b);
  hint(0, 1);  // still on its way when the guest moved
  ASSERT_TRUE(hints().begin(sink_));
  EXPECT_EQ(command(), 4u) << "a number that its driver has not answered yet";
  hint(1, 1);
  say(4);
  hint(2, 1);
  EXPECT_EQ(sink_.pages(), pages({2}));
  hints().end();
}

TEST(BalloonConfigTest, SaysWhetherTheGuestIsAsked) {
  EXPECT_EQ(parse_balloon("")->free_page_hint, std::nullopt);
  EXPECT_EQ(parse_balloon("free-page-hint=on")->free_page_hint, true);
  EXPECT_EQ(parse_balloon("free-page-hint=off")->free_page_hint, false);
  for (const char* wrong :
       {"on", "free-page-hint", "free-page-hint=", "free-page-hint=on,", "x=on"})
    EXPECT_EQ(parse_balloon(wrong).error().code, Errc::kInvalidArgument) << wrong;
  EXPECT_EQ(balloon_of_traits("slot=3;free-page-hint=on").free_page_hint, true);
  EXPECT_EQ(balloon_of_traits("slot=3").free_page_hint, false);
}

}  // namespace
}  // namespace godwit::devices::virtio
