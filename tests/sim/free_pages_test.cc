// Free page hints: what the guest does not use stays behind, and nothing that it uses does.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "migration/page/memory_hash.h"
#include "tests/sim/simulation.h"

namespace godwit::sim {
namespace {

using migration::Status;
using std::chrono::milliseconds;

constexpr uint64_t kGuestPages = (32_MiB).pages();
// The allocator's: behind them lies what the fake machine itself writes.
constexpr uint64_t kPages = kGuestPages - 64;

// A guest with a page allocator and a driver that hints free pages. The guest knows what each page
// that it uses holds, which is what the target must hold. Hints lie about for a while before they
// arrive, and the guest takes pages back without a word, whatever was said of them: as Linux does
// when memory is short.
class HintingGuest final : public vmm::FreePageHints {
 public:
  HintingGuest(support::FakeMachine& machine, uint64_t seed) : machine_(machine), random_(seed) {
    for (uint64_t p = 0; p < kPages; ++p) {
      write(p);
      if (p % 4 != 0) free_page(p);
    }
    machine.hints = this;
    machine.beside = [this] { live(); };
  }
  ~HintingGuest() override {
    machine_.pause();
    machine_.hints = nullptr;
    machine_.beside = {};
  }

  bool begin(vmm::FreePageSink& sink) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(sink_, nullptr);
    ++begun;
    if (refuses) return false;
    sink_ = &sink;
    on_the_way_.clear();
    driver_ = std::jthread([this](const std::stop_token& stop) { deliver(stop); });
    return true;
  }
  void end() noexcept override {
    ++ended;
    std::jthread driver;
    {
      const std::lock_guard lock(mutex_);
      sink_ = nullptr;
      driver = std::move(driver_);
    }
  }

  // What of memory is not as the guest that stands still left it.
  std::string differences(const vmm::GuestMemory& there) {
    const std::lock_guard lock(mutex_);
    uint64_t wrong = 0, first = 0;
    for (const auto& [page, stamp] : used_) {
      if (std::memcmp(there.page(PageIndex{page}), machine_.memory().page(PageIndex{page}),
                      kPageSize) == 0 &&
          *reinterpret_cast<const uint64_t*>(there.page(PageIndex{page})) == stamp)
        continue;
      if (wrong++ == 0) first = page;
    }
    return wrong == 0 ? "" : fmt::format("{} pages in use differ, the first is {}", wrong, first);
  }

  bool refuses = false;
  bool silent = false;
  int begun = 0;
  int ended = 0;
  uint64_t taken_back_before_delivery = 0;

 private:
  // On the guest's thread.
  void live() {
    const std::lock_guard lock(mutex_);
    for (int i = 0; i < 40; ++i) {
      const uint64_t page = random_() % kPages;
      if (used_.count(page) == 0) {
        // Not always at once; and not always the whole page.
        if (random_() % 2 == 0) take(page);
      } else if (random_() % 3 == 0) {
        free_page(page);
      } else {
        write(page);
      }
      // Of what is free now, the driver says so; it arrives later.
      if (sink_ != nullptr && !silent && on_the_way_.size() < 4096)
        for (uint64_t p = page / 64 * 64; p < std::min(page / 64 * 64 + 64, kPages); ++p)
          if (used_.count(p) == 0) on_the_way_.push_back(p);
    }
  }
  // On the balloon's thread, paused guest or not.
  void deliver(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      {
        const std::lock_guard lock(mutex_);
        for (int i = 0; i < 500 && !on_the_way_.empty() && sink_ != nullptr; ++i) {
          const size_t at = random_() % on_the_way_.size();
          const uint64_t page = on_the_way_[at];
          on_the_way_[at] = on_the_way_.back();
          on_the_way_.pop_back();
          taken_back_before_delivery += used_.count(page);
          sink_->add_free(PageIndex{page}, 1);
        }
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  void take(uint64_t page) { write(page); }
  void free_page(uint64_t page) { used_.erase(page); }
  void write(uint64_t page) {
    const uint64_t stamp = ++stamps_;
    machine_.guest_write(Gpa{page * kPageSize}, {&stamp, 1});
    used_[page] = stamp;
  }

  support::FakeMachine& machine_;
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::map<uint64_t, uint64_t> used_;  // page -> its first word
  uint64_t stamps_ = uint64_t{1} << 40;
  std::vector<uint64_t> on_the_way_;
  vmm::FreePageSink* sink_ = nullptr;
  std::jthread driver_;
};

Scenario idle_scenario() {
  Scenario scenario;
  // The fake machine's own writes would get into the allocator's way.
  scenario.guest = {.working_set_pages = 1, .pages_per_millisecond = 0, .filled_pages = 0};
  return scenario;
}

TEST(FreePages, WhatTheGuestUsesArrivesWhateverItSaidOfIt) {
  uint64_t left_out = 0, taken_back = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Scenario scenario = idle_scenario();
    scenario.parameters.verify = seed % 2 == 0;
    scenario.parameters.multifd_channels = 1 + seed % 3;
    // Slow enough for hints to arrive while pages are being sent.
    scenario.parameters.max_bandwidth_bytes_per_second = (seed % 4 + 1) * (40 << 20);
    Simulation s(scenario);
    HintingGuest guest(s.source_machine(), seed);
    const auto& r = s.run();
    ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
    EXPECT_EQ(guest.differences(s.target_machine()->memory()), "");
    EXPECT_EQ(guest.begun, 1);
    EXPECT_EQ(guest.ended, 1);
    if (r.verify) {
      EXPECT_TRUE(r.verify->equal);
      EXPECT_EQ(r.verify->target_hash, s.target_machine()->hash_at_resume());
    }
    EXPECT_EQ(s.world().most_running, 1);
    left_out += r.progress.free_pages;
    taken_back += guest.taken_back_before_delivery;
  }
  EXPECT_GT(left_out, 0u);
  EXPECT_GT(taken_back, 0u) << "the interleavings that matter did not come up";
}

TEST(FreePages, AnswersThatComeInTimeSaveAllThatIsFree) {
  Scenario scenario = idle_scenario();
  scenario.parameters.verify = true;
  Simulation s(scenario);
  struct AllFree final : vmm::FreePageHints {
    bool begin(vmm::FreePageSink& sink) override {
      sink.add_free(PageIndex{64}, 1000);
      sink.add_free(PageIndex{1500}, 1);
      sink.add_free(PageIndex{1500}, 3);
      sink.add_free(PageIndex{4000}, 64);
      return true;
    }
    void end() noexcept override { ++ended; }
    int ended = 0;
  } hints;
  s.source_machine().hints = &hints;
  const std::vector<std::byte> content(2048 * kPageSize, std::byte{5});
  ASSERT_TRUE(s.source_machine().memory().write(Gpa{0}, content));
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(r.progress.free_pages, 1003u) << "of touched pages";
  EXPECT_EQ(hints.ended, 1);
  ASSERT_TRUE(r.verify);
  EXPECT_TRUE(r.verify->equal);
  const vmm::GuestMemory& there = s.target_machine()->memory();
  for (uint64_t p = 0; p < 2048; ++p) {
    const bool free = (p >= 64 && p < 1064) || (p >= 1500 && p < 1503);
    ASSERT_EQ(*there.page(PageIndex{p}), free ? std::byte{0} : std::byte{5}) << p;
  }
  const auto settled = s.wait_settled();
  ASSERT_TRUE(settled && *settled);
  EXPECT_EQ((*settled)->progress.free_pages, 1003u) << "the target is told";
}

TEST(FreePages, AGuestThatNeverAnswersIsNotWaitedFor) {
  for (const bool refuses : {false, true}) {
    Simulation s{idle_scenario()};
    HintingGuest guest(s.source_machine(), 99);
    guest.silent = true;
    guest.refuses = refuses;
    const auto& r = s.run();
    ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
    EXPECT_EQ(r.progress.free_pages, 0u);
    EXPECT_EQ(guest.begun, 1);
    EXPECT_EQ(guest.ended, refuses ? 0 : 1);
    EXPECT_EQ(guest.differences(s.target_machine()->memory()), "");
  }
}

TEST(FreePages, APausedGuestIsNotAsked) {
  Scenario scenario = idle_scenario();
  scenario.start_running = false;
  Simulation s(scenario);
  HintingGuest guest(s.source_machine(), 7);
  ASSERT_EQ(s.run().progress.status, Status::kCompleted) << s.result().error->message;
  EXPECT_EQ(guest.begun, 0);
  EXPECT_EQ(guest.differences(s.target_machine()->memory()), "");
}

// However it ends, the guest has its pages back, and it hints nothing into what is gone.
TEST(FreePages, TheGuestGetsItsPagesBackWhenTheMigrationFails) {
  const auto expect_back = [](Scenario scenario, Status status, auto prepare) {
    Simulation s(scenario);
    HintingGuest guest(s.source_machine(), 5);
    prepare(s);
    EXPECT_EQ(s.run().progress.status, status);
    EXPECT_EQ(guest.begun, guest.ended);
    EXPECT_EQ(s.source_machine().running(), true);
    EXPECT_EQ(s.violation(), "");
    return guest.begun;
  };
  Scenario slow = idle_scenario();
  slow.parameters.max_bandwidth_bytes_per_second = 1 << 20;
  EXPECT_EQ(expect_back(slow, Status::kCancelled,
                        [](Simulation& s) {
                          s.observer = [&s](const migration::Progress& p) {
                            if (p.iteration == 1) s.source().cancel();
                          };
                        }),
            1);
  Scenario late = slow;
  late.parameters.timeout = milliseconds(200);
  EXPECT_EQ(expect_back(late, Status::kFailed, [](Simulation&) {}), 1);
  EXPECT_EQ(expect_back(slow, Status::kFailed,
                        [](Simulation& s) {
                          s.observer = [&s](const migration::Progress& p) {
                            if (p.iteration == 1) s.link().cut_all();
                          };
                        }),
            1);
  EXPECT_EQ(expect_back(idle_scenario(), Status::kFailed,
                        [](Simulation& s) {
                          s.factory().load_error = Error{Errc::kIncompatible, "no"};
                        }),
            1)
      << "asked before the rehearsal finds out";
  EXPECT_EQ(expect_back(idle_scenario(), Status::kFailed,
                        [](Simulation& s) {
                          s.factory().refuse = Error{Errc::kIncompatible, "no"};
                        }),
            0);
}

}  // namespace
}  // namespace godwit::sim
