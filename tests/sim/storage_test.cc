// Disks that come along: the oracle is that the target's equal the source's at the handover, to
// the byte, whatever the guest wrote meanwhile and whatever the link did.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/sim/simulation.h"

namespace godwit::sim {
namespace {

using migration::Compression;
using migration::Status;
using std::chrono::milliseconds;
using support::Direction;
using support::FaultKind;
using support::FaultScript;
using testing::HasSubstr;

// Connections: 0 control, 1 and 2 data, 3 storage.
constexpr size_t kStorageConnection = 3;

// One disk ends in the middle of a granule, one is smaller than one.
Scenario with_disks() {
  Scenario scenario;
  scenario.guest = {.memory = 16_MiB,
                    .working_set_pages = 64,
                    .pages_per_millisecond = 20,
                    .filled_pages = 96,
                    .disks = {(5 << 20) + 512, 4096},
                    .disk_writes_per_millisecond = 2};
  scenario.parameters.copy_storage = true;
  return scenario;
}

Scenario impatient() {
  Scenario scenario = with_disks();
  scenario.parameters.io_timeout = milliseconds(250);
  scenario.parameters.resolve_timeout = milliseconds(400);
  scenario.target.io_timeout = milliseconds(250);
  scenario.target.answer_timeout = milliseconds(400);
  scenario.target.accept_timeout = milliseconds(400);
  return scenario;
}

TEST(Storage, ABusyDiskArrivesEqual) {
  Simulation s(with_disks());
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.violation(), "");
  ASSERT_TRUE(r.progress.storage);
  const migration::StorageProgress& storage = *r.progress.storage;
  EXPECT_EQ(storage.volumes, 2u);
  EXPECT_EQ(storage.total_bytes, (5u << 20) + 512 + 4096);
  EXPECT_EQ(storage.remaining_bytes, 0u);
  EXPECT_GE(storage.passes, 2u) << "the first, and the last in the switchover";
  EXPECT_GT(storage.data_bytes, 0u);
  EXPECT_GT(storage.transferred_bytes, 0u);
  EXPECT_TRUE(s.target_machine()->disk(0).durable()) << "flushed before the guest goes on";
}

// A ping is sent every 100 ms, and its answer takes most of that: at the end of the passes one is
// under way more often than not.
TEST(Storage, AnswersThatAreUnderWayWhenTheDisksAreThroughDoNoHarm) {
  for (uint64_t mib = 2; mib <= 5; ++mib) {
    Scenario scenario = with_disks();
    scenario.guest.disks = {mib << 20};
    scenario.guest.disk_writes_per_millisecond = 0;
    scenario.parameters.compression = Compression::kNone;
    scenario.parameters.max_bandwidth_bytes_per_second = 15 << 20;
    scenario.parameters.downtime_limit = std::chrono::seconds(2);
    scenario.control_delay = milliseconds(80);
    Simulation s(scenario);
    const auto& r = s.run();
    ASSERT_EQ(r.progress.status, Status::kCompleted) << mib << " MiB: " << r.error->message;
    EXPECT_EQ(s.violation(), "");
  }
}

TEST(Storage, EveryCodecAndMoreWritesThanLinkArriveEqual) {
  for (const Compression codec : {Compression::kAuto, Compression::kNone, Compression::kLz4}) {
    Scenario scenario = with_disks();
    scenario.parameters.compression = codec;
    scenario.guest.disk_writes_per_millisecond = 20;
    scenario.parameters.max_bandwidth_bytes_per_second = 100 << 20;
    Simulation s(scenario);
    const auto& r = s.run();
    ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
    EXPECT_EQ(s.violation(), "");
  }
}

TEST(Storage, HolesAndZeroesDoNotTravelAndAreZeroAtTheTarget) {
  Scenario scenario = with_disks();
  scenario.guest.disks = {64 << 20};
  scenario.guest.disk_writes_per_millisecond = 0;
  scenario.parameters.compression = Compression::kNone;
  Simulation s(scenario);
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.violation(), "") << "the target's disk held something else before";
  const migration::StorageProgress& storage = *r.progress.storage;
  EXPECT_EQ(storage.data_bytes + storage.zero_bytes, 64u << 20);
  EXPECT_LT(storage.data_bytes, 22u << 20);
  EXPECT_GE(storage.transferred_bytes, storage.data_bytes);
  EXPECT_LT(storage.transferred_bytes, storage.data_bytes + 65536);
}

TEST(Storage, ADiskThatNobodyWritesIsSentOnce) {
  Scenario scenario = with_disks();
  scenario.guest.disk_writes_per_millisecond = 0;
  Simulation s(scenario);
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.violation(), "");
  EXPECT_EQ(r.progress.storage->passes, 2u);
  EXPECT_EQ(r.progress.storage->last_delta_bytes, 0u);
}

TEST(Storage, WithoutTheParameterNoDiskIsRead) {
  Scenario scenario = with_disks();
  scenario.parameters.copy_storage = false;
  Simulation s(scenario);
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.violation(), "");
  EXPECT_FALSE(r.progress.storage);
  EXPECT_EQ(s.link().connections(), 3u);
  EXPECT_EQ(s.source_machine().disk(0).reads(), 0);
  EXPECT_EQ(s.target_machine()->disk(0).content()[0], std::byte{0xee}) << "not touched";
}

TEST(Storage, AGuestWithoutDisksOfItsOwnMovesAsEver) {
  Scenario scenario = with_disks();
  scenario.guest.disks = {};
  scenario.guest.disk_writes_per_millisecond = 0;
  Simulation s(scenario);
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.violation(), "");
  EXPECT_FALSE(r.progress.storage);
}

TEST(Storage, APausedGuestsDiskComesAlongToo) {
  Scenario scenario = with_disks();
  scenario.start_running = false;
  Simulation s(scenario);
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  EXPECT_EQ(s.target_machine()->disk(0).content(), s.source_machine().disk(0).content());
  EXPECT_TRUE(s.target_machine()->disk(0).kept()) << "though it was never resumed there";
}

TEST(Storage, TheBandwidthLimitHoldsForDisks) {
  Scenario scenario = with_disks();
  scenario.guest.disk_writes_per_millisecond = 0;
  scenario.parameters.compression = Compression::kNone;
  scenario.parameters.max_bandwidth_bytes_per_second = 8 << 20;
  Simulation s(scenario);
  std::vector<uint64_t> remaining;
  s.observer = [&](const migration::Progress& p) {
    if (p.storage && p.status == Status::kActive && p.iteration == 0)
      remaining.push_back(p.storage->remaining_bytes);
  };
  const auto& r = s.run();
  ASSERT_EQ(r.progress.status, Status::kCompleted) << r.error->message;
  // 1.6 MiB of content; the burst is 256 KiB.
  EXPECT_GT(r.progress.storage->first_pass, milliseconds(100));
  ASSERT_GE(remaining.size(), 2u) << "progress is told while the disks are copied";
  EXPECT_LT(remaining.back(), remaining.front());
}

TEST(Storage, CancelAmidTheCopyLeavesTheGuestAndItsDiskAlone) {
  Scenario scenario = with_disks();
  scenario.parameters.max_bandwidth_bytes_per_second = 1 << 20;
  Simulation s(scenario);
  s.observer = [&](const migration::Progress& p) {
    if (p.storage && p.storage->transferred_bytes > 0) s.source().cancel();
  };
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kCancelled) << r.error->message;
  EXPECT_EQ(s.violation(), "");
}

TEST(Storage, ADiskThatFailsAtTheTargetEndsItWithItsReason) {
  Simulation s(with_disks());
  s.factory().disk_error = Error{Errc::kExhausted, "disk disk0: no space left"};
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kFailed);
  EXPECT_THAT(r.error->message, HasSubstr("disk disk0: no space left"));
  EXPECT_EQ(r.error->code, Errc::kExhausted);
  EXPECT_EQ(s.violation(), "");
}

TEST(Storage, ADiskThatFailsAtTheSourceEndsItWithItsReason) {
  Simulation s(with_disks());
  s.source_machine().disk(0).read_error = Error{Errc::kIo, "disk disk0: cannot be read"};
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kFailed);
  EXPECT_THAT(r.error->message, HasSubstr("disk disk0: cannot be read"));
  EXPECT_EQ(s.violation(), "");
}

TEST(Storage, StateThatCannotBeLoadedIsFoundBeforeAnyDiskIsCopied) {
  Simulation s(with_disks());
  s.factory().load_error = Error{Errc::kIncompatible, "MSR 0x1234 cannot be set"};
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kFailed);
  EXPECT_THAT(r.error->message, HasSubstr("MSR 0x1234"));
  EXPECT_EQ(s.source_machine().disk(0).reads(), 0);
  EXPECT_EQ(s.violation(), "");
}

// How many bytes a run without faults moves on each connection.
struct Extent {
  std::vector<uint64_t> sent, received;
};
Extent measure() {
  Simulation s(with_disks());
  s.run();
  Extent extent;
  for (size_t k = 0; k < s.link().connections(); ++k) {
    extent.sent.push_back(s.link().bytes_sent(k));
    extent.received.push_back(s.link().bytes_received(k));
  }
  return extent;
}

class StorageFaults : public testing::TestWithParam<std::tuple<FaultKind, Direction>> {};

TEST_P(StorageFaults, OnTheStorageConnectionNeverBreakTheInvariant) {
  const auto [kind, direction] = GetParam();
  const Extent extent = measure();
  ASSERT_EQ(extent.sent.size(), 4u);
  const uint64_t bytes = direction == Direction::kSend ? extent.sent[kStorageConnection]
                                                       : extent.received[kStorageConnection];
  const uint64_t steps = kind == FaultKind::kStall || kind == FaultKind::kTruncate ? 6 : 30;
  int failed = 0;
  for (uint64_t i = 0; i < steps; ++i) {
    Scenario scenario = impatient();
    scenario.scripts.resize(kStorageConnection + 1);
    FaultScript& script = scenario.scripts[kStorageConnection];
    script.faults.push_back({kind, direction, bytes * i / steps, 3});
    Simulation s(scenario);
    const Status status = s.run().progress.status;
    EXPECT_EQ(s.violation(), "") << describe(script);
    if (status != Status::kCompleted) ++failed;
  }
  EXPECT_GT(failed, 0) << "the faults did hit";
}

INSTANTIATE_TEST_SUITE_P(Each, StorageFaults,
                         testing::Combine(testing::Values(FaultKind::kCut, FaultKind::kFlip,
                                                          FaultKind::kStall, FaultKind::kTruncate),
                                          testing::Values(Direction::kSend, Direction::kReceive)));

TEST(StorageFaults, RandomOnesOnAllConnectionsAtOnce) {
  const Extent extent = measure();
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    Scenario scenario = impatient();
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

// The moment of the last harvest: the guest is stopped, the last delta is on its way.
TEST(StorageFaults, ALinkThatDiesAtTheSwitchoverLetsTheGuestGoOn) {
  Scenario scenario = with_disks();
  Simulation s(scenario);
  // Pauses: a rehearsal before the disks, one (or more) before the pages, the switchover.
  s.observer = [&](const migration::Progress& p) {
    if (p.iteration == 0) return;
    s.source_machine().on_pause = [&] { s.link().cut_all(); };
  };
  const auto& r = s.run();
  EXPECT_EQ(r.progress.status, Status::kFailed);
  EXPECT_TRUE(r.stall_after_failure);
  EXPECT_EQ(s.violation(), "");
}

}  // namespace
}  // namespace godwit::sim
