// One whole migration between fake machines over a link in memory.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "migration/source.h"
#include "migration/target.h"
#include "tests/support/fake_machine.h"
#include "tests/support/faulty_link.h"
#include "tests/support/slow_connector.h"

namespace godwit::sim {

struct Scenario {
  support::FakeGuest guest;
  migration::MigrationParameters parameters = quick_parameters();
  migration::TargetParameters target = quick_target();
  std::vector<support::FaultScript> scripts;  // connection 0 is the control connection
  Nanoseconds control_delay{};                // of answers to the source
  bool start_running = true;

  static migration::MigrationParameters quick_parameters();
  static migration::TargetParameters quick_target();
};

// Threads: run() starts the target on a thread of its own and the source on the caller's.
class Simulation {
 public:
  explicit Simulation(const Scenario& scenario);
  ~Simulation();

  const migration::MigrationResult& run();
  // Called on the source's thread with each progress report.
  migration::MigrationSource::Observer observer;

  support::FakeMachine& source_machine() { return *source_; }
  support::FakeMachine* target_machine();
  migration::MigrationSource& source() { return *migration_; }
  migration::MigrationTarget& target() { return *receiver_; }
  const migration::MigrationResult& result() const { return result_; }
  // What the target was told when it settled; nothing while it has not.
  std::optional<std::optional<migration::MigrationResult>> wait_settled() {
    return settled_within(std::chrono::seconds(10));
  }
  std::optional<std::optional<migration::MigrationResult>> settled_within(Nanoseconds limit);
  const migration::TargetResult& target_result() const { return target_result_; }
  support::FaultyLink& link() { return link_; }
  support::FakeFactory& factory() { return factory_; }
  support::World& world() { return world_; }

  // The invariant of PROTOCOL.md for whatever happened: the guest never ran twice; it runs at
  // exactly one side that says so, or, with status unknown, at most at the target; and where it
  // moved, memory is equal to the byte and the guest's own count goes on. Returns what is wrong.
  std::string violation();

 private:
  Scenario scenario_;
  support::World world_;
  std::mutex settled_mutex_;
  std::condition_variable settled_changed_;
  std::optional<std::optional<migration::MigrationResult>> settled_;
  support::FaultyLink link_;
  support::SlowConnector connector_;
  support::FakeFactory factory_;
  std::unique_ptr<support::FakeMachine> source_;
  std::unique_ptr<migration::MigrationSource> migration_;
  std::unique_ptr<migration::MigrationTarget> receiver_;
  migration::MigrationResult result_;
  migration::TargetResult target_result_;
};

}  // namespace godwit::sim
