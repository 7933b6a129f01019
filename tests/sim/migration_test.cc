// The engine end to end without faults.
#include <gtest/gtest.h>

#include <numeric>

#include "migration/page/memory_hash.h"
#include "tests/sim/simulation.h"

namespace godwit::sim {
namespace {

using migration::Compression;
using migration::OnNoConverge;
using migration::Status;
using std::chrono::milliseconds;

TEST(Migration, MovesABusyGuest) {
  Simulation s{{}};
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.violation(), "");
  ASSERT_TRUE(r.ledger);
  Nanoseconds sum{};
  for (const Nanoseconds phase : r.ledger->phases) sum += phase;
  EXPECT_EQ(sum, r.ledger->total) << "the phases add up";
  EXPECT_EQ(*r.downtime, r.ledger->total);
  EXPECT_GT(r.ledger->total.count(), 0);
  EXPECT_GE(r.iterations.size(), 1u);
  EXPECT_GT(r.progress.duplicate_pages, 0u);
}

TEST(Migration, EveryCodecAndNumberOfChannels) {
  for (const Compression codec : {Compression::kAuto, Compression::kNone, Compression::kLz4}) {
    for (const uint32_t channels : {1u, 2u, 3u, 7u}) {
      Scenario scenario;
      scenario.parameters.compression = codec;
      scenario.parameters.multifd_channels = channels;
      scenario.parameters.verify = true;
      Simulation s(scenario);
      const auto& r = s.run();
      ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
      EXPECT_EQ(s.violation(), "") << channels;
      EXPECT_EQ(r.progress.lz4_pages > 0, codec == Compression::kLz4 || r.progress.lz4_pages > 0);
      ASSERT_TRUE(r.verify);
      EXPECT_TRUE(r.verify->equal);
    }
  }
}

TEST(Migration, ProgressMovesWithinAnIteration) {
  Scenario scenario;
  scenario.guest.pages_per_millisecond = 0;
  scenario.parameters.max_bandwidth_bytes_per_second = 10
                                                       << 20;  // 6 MiB take more than half a second
  Simulation s(scenario);
  std::vector<uint64_t> remaining;
  double rate = 0;
  s.observer = [&](const migration::Progress& p) {
    if (p.iteration != 1 || p.status != Status::kActive) return;
    remaining.push_back(p.remaining_bytes);
    rate = std::max(rate, p.wire_bytes_per_second);
  };
  ASSERT_EQ(s.run().progress.status, Status::kCompleted) << s.result().error->message;
  ASSERT_GE(remaining.size(), 3u);
  EXPECT_LT(remaining.back(), remaining.front());
  EXPECT_GT(rate, 0);
  EXPECT_EQ(s.result().progress.remaining_bytes, 0u);
}

TEST(Migration, UntouchedMemoryIsNeitherReadNorSent) {
  Scenario scenario;
  scenario.guest = {
      .memory = 2_GiB, .working_set_pages = 64, .pages_per_millisecond = 0, .filled_pages = 128};
  Simulation s(scenario);
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.violation(), "");
  // The filled pages, and the one that each save() writes, once or in a few iterations.
  EXPECT_GE(r.progress.normal_pages + r.progress.duplicate_pages, 129u);
  EXPECT_LT(r.progress.normal_pages + r.progress.duplicate_pages, 140u);
  EXPECT_EQ(r.progress.untouched_pages, (2_GiB).pages() - 128);
  uint64_t touched = 0;
  for (const auto& range : s.target_machine()->memory().touched()) touched += range.count;
  EXPECT_LE(touched, 129u) << "zero pages stay untouched at the target";
}

// As a balloon does it, or the guest's reports of free pages: up to the pause, while the engine
// reads and the guest writes.
TEST(Migration, MemoryThatIsGivenBackMeanwhileStaysEqual) {
  Scenario scenario;
  scenario.parameters.verify = true;
  scenario.parameters.max_bandwidth_bytes_per_second = 50 << 20;
  Simulation s(scenario);
  vmm::GuestMemory& memory = s.source_machine().memory();
  std::atomic<int> given{0};
  std::jthread balloon([&](const std::stop_token& stop) {
    for (uint64_t at = 1; !stop.stop_requested(); at = at * 6364136223846793005u + 1) {
      ASSERT_TRUE(memory.discard(Gpa{at % 2032 * kPageSize}, ByteCount{16 * kPageSize}));
      ++given;
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  s.source_machine().on_pause = [&] {
    balloon.request_stop();
    if (balloon.joinable()) balloon.join();
  };
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.violation(), "");
  ASSERT_TRUE(r.verify);
  EXPECT_TRUE(r.verify->equal);
  EXPECT_GT(given, 0);
}

TEST(Migration, APausedGuestArrivesPaused) {
  Scenario scenario;
  scenario.start_running = false;
  Simulation s(scenario);
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_FALSE(s.source_machine().running());
  EXPECT_FALSE(s.target_machine()->running());
  EXPECT_EQ(migration::memory_hash(s.source_machine().memory()),
            migration::memory_hash(s.target_machine()->memory()));
}

TEST(Migration, StateIsRehearsedBeforeItIsHandedOver) {
  Simulation s{{}};
  ASSERT_EQ(s.run().progress.status, Status::kCompleted) << s.result().error->message;
  EXPECT_GE(s.target_machine()->loads(), 2);
}

TEST(Migration, TheBudgetHasTheRoundTripsOfASlowLink) {
  constexpr milliseconds kDelay{20};
  Scenario scenario;
  scenario.control_delay = kDelay;
  Simulation s(scenario);
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_GE(r.round_trip, kDelay);
  ASSERT_TRUE(r.budget);
  EXPECT_GE(r.budget->round_trip, kDelay) << "COMMIT";
  EXPECT_GE(r.budget->state, kDelay) << "STATE out, LOADED back";
  EXPECT_EQ(r.budget->total(), r.predicted_downtime) << "the terms add up";
  EXPECT_EQ(r.iterations.back().predicted_downtime, r.predicted_downtime);
  EXPECT_GE(r.ledger->total + r.ledger->clock_offset_error, 2 * kDelay)
      << "and that is what the link costs";
}

TEST(Migration, ALimitThatTheRoundTripsAloneExceedIsNotKeptByLeavingThemOut) {
  Scenario scenario;
  scenario.control_delay = milliseconds(20);
  scenario.parameters.downtime_limit = milliseconds(30);
  scenario.parameters.on_no_converge = OnNoConverge::kCancel;
  scenario.parameters.converge_timeout = milliseconds(100);
  Simulation s(scenario);
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kCancelled);
  EXPECT_EQ(s.violation(), "");
  ASSERT_FALSE(r.iterations.empty());
  EXPECT_GE(r.iterations.back().predicted_downtime, milliseconds(40));
}

TEST(Migration, RefusalNamesTheReasonAndLeavesTheTargetWaiting) {
  Scenario scenario;
  scenario.target.accept_timeout = milliseconds(600);
  Simulation s(scenario);
  s.factory().refuse = Error{Errc::kIncompatible, "avx512f is missing at the target"};
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kFailed);
  EXPECT_EQ(r.error->code, Errc::kIncompatible);
  EXPECT_NE(r.error->message.find("avx512f is missing"), std::string::npos);
  EXPECT_EQ(s.violation(), "");
  EXPECT_EQ(r.progress.normal_pages, 0u) << "no page travelled";
}

TEST(Migration, StateThatCannotBeLoadedIsFoundInTheRehearsal) {
  Simulation s{{}};
  s.factory().load_error = Error{Errc::kIncompatible, "MSR 0x1234 cannot be set"};
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kFailed);
  EXPECT_NE(r.error->message.find("MSR 0x1234"), std::string::npos);
  EXPECT_EQ(r.progress.normal_pages, 0u) << "no page travelled";
  EXPECT_FALSE(r.stall_after_failure);
  EXPECT_EQ(s.violation(), "");
}

TEST(Migration, CancelLeavesTheGuestAtTheSource) {
  Scenario scenario;
  scenario.parameters.downtime_limit = Nanoseconds(1);  // never fits
  Simulation s(scenario);
  s.observer = [&](const migration::Progress& p) {
    if (p.iteration >= 3) s.source().cancel();
  };
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kCancelled) << r.error->message;
  EXPECT_EQ(s.violation(), "");
}

TEST(Migration, CancelAtTheTargetLeavesTheGuestAtTheSource) {
  Scenario scenario;
  scenario.parameters.downtime_limit = Nanoseconds(1);
  Simulation s(scenario);
  s.observer = [&](const migration::Progress& p) {
    if (p.iteration >= 3) s.target().cancel();
  };
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kFailed);
  EXPECT_NE(r.error->message.find("cancelled at the target"), std::string::npos)
      << r.error->message;
  EXPECT_EQ(s.violation(), "");
}

TEST(Migration, AGuestThatDoesNotConvergeIsHandledAsAsked) {
  Scenario scenario;
  scenario.parameters.downtime_limit = Nanoseconds(1);
  scenario.parameters.converge_timeout = milliseconds(50);
  scenario.parameters.on_no_converge = OnNoConverge::kSwitchover;
  Simulation forced(scenario);
  ASSERT_EQ(forced.run().progress.status, Status::kCompleted) << forced.result().error->message;
  EXPECT_EQ(forced.violation(), "");
  EXPECT_FALSE(forced.result().progress.converging);

  scenario.parameters.on_no_converge = OnNoConverge::kCancel;
  Simulation cancelled(scenario);
  EXPECT_EQ(cancelled.run().progress.status, Status::kCancelled);
  EXPECT_NE(cancelled.result().error->message.find("does not converge"), std::string::npos);
  EXPECT_NE(cancelled.result().error->message.find("predicted downtime"), std::string::npos);
  EXPECT_EQ(cancelled.violation(), "");

  scenario.parameters.on_no_converge = OnNoConverge::kWait;
  scenario.parameters.timeout = milliseconds(500);
  Simulation waiting(scenario);
  EXPECT_EQ(waiting.run().progress.status, Status::kFailed);
  EXPECT_EQ(waiting.result().error->code, Errc::kTimeout);
  EXPECT_EQ(waiting.violation(), "");
}

TEST(Migration, TimeLimitEndsIt) {
  Scenario scenario;
  scenario.parameters.max_bandwidth_bytes_per_second = 1 << 20;
  scenario.parameters.timeout = milliseconds(300);
  Simulation s(scenario);
  EXPECT_EQ(s.run().progress.status, Status::kFailed);
  EXPECT_EQ(s.result().error->code, Errc::kTimeout);
  EXPECT_EQ(s.violation(), "");
}

TEST(Migration, BackAndForthKeepsEveryWrite) {
  // The same guest, moved on from where it arrived, each time over a new link.
  support::World world;
  support::FakeGuest guest;
  std::unique_ptr<vmm::Machine> machine =
      std::make_unique<support::FakeMachine>(world, guest, true);
  machine->resume();
  for (int i = 0; i < 10; ++i) {
    support::FaultyLink link;
    support::FakeFactory factory(world, guest);
    migration::MigrationSource source(*machine, link.connector(), Scenario::quick_parameters());
    migration::MigrationTarget target(link.acceptor(), factory, Scenario::quick_target());
    migration::TargetResult arrived;
    std::jthread receiving([&] { arrived = target.run(); });
    const auto result = source.run();
    receiving.join();
    ASSERT_EQ(result.progress.status, Status::kCompleted) << result.error->message;
    auto* there = static_cast<support::FakeMachine*>(arrived.machine.get());
    EXPECT_EQ(there->hash_at_resume(), migration::memory_hash(machine->memory())) << "move " << i;
    machine = std::move(arrived.machine);
  }
  EXPECT_EQ(world.most_running, 1);
}

}  // namespace
}  // namespace godwit::sim
