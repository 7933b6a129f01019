// The engine under every fault that the link can have, at every byte that matters.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "migration/wire/messages.h"
#include "tests/sim/simulation.h"

namespace godwit::sim {
namespace {

using migration::Status;
using support::Direction;
using support::FaultKind;
using support::FaultScript;

// A small guest, so that a run takes milliseconds.
Scenario patient() {
  Scenario scenario;
  scenario.guest = {
      .memory = 16_MiB, .working_set_pages = 64, .pages_per_millisecond = 20, .filled_pages = 96};
  scenario.parameters.multifd_channels = 2;
  return scenario;
}

// The same with time-outs that make a stall cheap. On a busy host they may strike without one:
// what is checked here holds then too.
Scenario small() {
  Scenario scenario = patient();
  scenario.parameters.io_timeout = std::chrono::milliseconds(150);
  scenario.parameters.resolve_timeout = std::chrono::milliseconds(400);
  scenario.target.io_timeout = std::chrono::milliseconds(150);
  scenario.target.answer_timeout = std::chrono::milliseconds(400);
  scenario.target.accept_timeout = std::chrono::milliseconds(400);
  return scenario;
}

// How many bytes a run without faults moves on each connection: where faults can hit.
struct Extent {
  std::vector<uint64_t> sent, received;
};

Extent measure() {
  Simulation s(patient());
  s.run();
  Extent extent;
  for (size_t k = 0; k < s.link().connections(); ++k) {
    extent.sent.push_back(s.link().bytes_sent(k));
    extent.received.push_back(s.link().bytes_received(k));
  }
  return extent;
}

uint64_t settled_bytes() {
  ByteWriter payload;
  encode(migration::wire::Settled{}, payload);
  return payload.size() + migration::wire::kMessageHeaderBytes;
}

std::string run_with(size_t connection, const FaultScript& script, Status& status,
                     Scenario scenario = small()) {
  scenario.scripts.resize(connection + 1);
  scenario.scripts[connection] = script;
  Simulation s(scenario);
  status = s.run().progress.status;
  return s.violation();
}

class Faults : public testing::TestWithParam<std::tuple<FaultKind, Direction>> {};

// The control connection is where every message travels: hit it at each byte of a grid that is
// finer than any message, so that each message is hit in its header and in its body.
TEST_P(Faults, OnTheControlConnectionNeverBreakTheInvariant) {
  const auto [kind, direction] = GetParam();
  const Extent extent = measure();
  ASSERT_EQ(extent.sent.size(), 3u);
  const uint64_t bytes = direction == Direction::kSend ? extent.sent[0] : extent.received[0];
  // Stalls cost their time-outs: fewer of them.
  const uint64_t steps = kind == FaultKind::kStall || kind == FaultKind::kTruncate ? 24 : 120;
  int failed = 0;
  for (uint64_t i = 0; i <= steps; ++i) {
    const uint64_t at = bytes * i / steps;
    Status status{};
    FaultScript script;
    script.faults.push_back({kind, direction, at, 3});
    EXPECT_EQ(run_with(0, script, status), "") << describe(script);
    if (status != Status::kCompleted) ++failed;
  }
  EXPECT_GT(failed, 0) << "the faults did hit";
}

TEST_P(Faults, OnADataConnectionNeverBreakTheInvariant) {
  const auto [kind, direction] = GetParam();
  const Extent extent = measure();
  ASSERT_EQ(extent.sent.size(), 3u);
  const uint64_t bytes = direction == Direction::kSend ? extent.sent[1] : extent.received[1];
  const uint64_t steps = kind == FaultKind::kStall || kind == FaultKind::kTruncate ? 8 : 40;
  int failed = 0;
  for (uint64_t i = 0; i < steps; ++i) {
    Status status{};
    FaultScript script;
    script.faults.push_back({kind, direction, bytes * i / steps, 3});
    EXPECT_EQ(run_with(1, script, status), "") << describe(script);
    if (status != Status::kCompleted) ++failed;
  }
  EXPECT_GT(failed, 0) << "the faults did hit";
}

INSTANTIATE_TEST_SUITE_P(Each, Faults,
                         testing::Combine(testing::Values(FaultKind::kCut, FaultKind::kFlip,
                                                          FaultKind::kStall, FaultKind::kTruncate),
                                          testing::Values(Direction::kSend, Direction::kReceive)));

// COMMIT and its answer: every byte of them; and some of SETTLED, which follows.
TEST(Handover, CutAtEachOfTheLastBytesNeverRunsTheGuestTwice) {
  const Extent extent = measure();
  for (const Direction direction : {Direction::kSend, Direction::kReceive}) {
    const bool sending = direction == Direction::kSend;
    const uint64_t bytes = sending ? extent.sent[0] : extent.received[0];
    const uint64_t settled = sending ? settled_bytes() : 0;
    // The residue varies from run to run, so a few more bytes than the two messages have.
    for (uint64_t back = 1; back <= settled + 80 && back < bytes; back += back < settled ? 24 : 1) {
      Status status{};
      FaultScript script;
      script.faults.push_back({FaultKind::kCut, direction, bytes - back, 0});
      EXPECT_EQ(run_with(0, script, status), "") << describe(script);
    }
  }
}

// With --verify: memory that nobody compared is not said to be different.
TEST(Faults, AMoveThatEndsBeforeTheTargetHasHashedSaysNothingOfHashes) {
  Scenario scenario = small();
  scenario.parameters.verify = true;
  Simulation whole(scenario);
  whole.run();
  const uint64_t bytes = whole.link().bytes_received(0);
  int cut = 0;
  for (uint64_t back = 1; back <= 160 && back < bytes; ++back) {
    FaultScript script;
    script.faults.push_back({FaultKind::kCut, Direction::kReceive, bytes - back, 0});
    scenario.scripts = {script};
    Simulation s(scenario);
    const auto& result = s.run();
    EXPECT_TRUE(!result.verify || result.verify->equal) << describe(script);
    if (!result.verify) ++cut;
  }
  EXPECT_GT(cut, 0) << "before or in LOADED";
}

TEST(Faults, RandomOnesOnAllConnectionsAtOnce) {
  const Extent extent = measure();
  for (uint32_t seed = 1; seed <= 150; ++seed) {
    Scenario scenario = small();
    std::mt19937 random(seed);
    for (size_t k = 0; k < extent.sent.size(); ++k) {
      scenario.scripts.push_back(
          random() % 2 == 0 ? support::random_script(seed * 8 + k, extent.sent[k]) : FaultScript{});
    }
    Simulation s(scenario);
    s.run();
    EXPECT_EQ(s.violation(), "") << "seed " << seed << ", status "
                                 << migration::status_name(s.result().progress.status);
  }
}

TEST(Handover, ATargetWhoseSourceKnowsNeedNotAnswerAnyMore) {
  Simulation s(patient());
  s.run();
  const auto settled = s.wait_settled();
  ASSERT_TRUE(settled);
  ASSERT_TRUE(*settled) << "the source's confirmation did not arrive";
  const migration::MigrationResult& figures = **settled;
  EXPECT_EQ(figures.progress.status, Status::kCompleted);
  EXPECT_EQ(figures.downtime, s.result().downtime);
  EXPECT_EQ(figures.ledger->phases, s.result().ledger->phases);
  EXPECT_EQ(figures.progress.normal_pages, s.result().progress.normal_pages);
  EXPECT_EQ(figures.progress.iteration, s.result().progress.iteration);
  EXPECT_EQ(figures.channels, s.result().channels);
}

TEST(Handover, LostConfirmationIsResolvedByAsking) {
  // RESUMED (the last message to the source) is lost; the target answers the question afterwards,
  // and goes on answering: it does not know that the answer arrived.
  const Extent extent = measure();
  FaultScript script;
  script.faults.push_back({FaultKind::kCut, Direction::kReceive, extent.received[0] - 8, 0});
  Scenario scenario = patient();
  scenario.scripts.push_back(script);
  Simulation s(scenario);
  EXPECT_EQ(s.run().progress.status, Status::kCompleted);
  EXPECT_EQ(s.violation(), "");
  EXPECT_FALSE(s.settled_within(std::chrono::milliseconds(200)));
}

TEST(Failure, AfterTheGuestWasStoppedLetsItGoOn) {
  // The link dies the moment the guest is paused for the switchover (the second pause: the first
  // one is the rehearsal).
  Simulation s(patient());
  int pauses = 0;
  s.source_machine().on_pause = [&] {
    if (++pauses == 2) s.link().cut_all();
  };
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kFailed);
  EXPECT_TRUE(r.stall_after_failure);
  EXPECT_EQ(s.violation(), "");
}

}  // namespace
}  // namespace godwit::sim
