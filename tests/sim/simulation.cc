#include "tests/sim/simulation.h"

#include <fmt/format.h>

#include "migration/page/memory_hash.h"

namespace godwit::sim {

using migration::Status;

migration::MigrationParameters Scenario::quick_parameters() {
  migration::MigrationParameters p;
  // Long enough for a busy host; tests of stalls bring their own.
  p.io_timeout = std::chrono::seconds(10);
  p.connect_timeout = std::chrono::seconds(10);
  p.resolve_timeout = std::chrono::seconds(5);
  p.downtime_limit = std::chrono::seconds(2);
  p.timeout = std::chrono::seconds(60);
  return p;
}

migration::TargetParameters Scenario::quick_target() {
  migration::TargetParameters p;
  p.io_timeout = std::chrono::seconds(10);
  p.accept_timeout = std::chrono::seconds(20);
  p.answer_timeout = std::chrono::seconds(2);
  return p;
}

Simulation::Simulation(const Scenario& scenario)
    : scenario_(scenario),
      link_(scenario.scripts),
      connector_(link_.connector(), scenario.control_delay),
      factory_(world_, scenario.guest),
      source_(std::make_unique<support::FakeMachine>(world_, scenario.guest, true)) {
  migration_ = std::make_unique<migration::MigrationSource>(
      *source_, connector_, scenario_.parameters, [this](const migration::Progress& p) {
        if (observer) observer(p);
      });
  receiver_ =
      std::make_unique<migration::MigrationTarget>(link_.acceptor(), factory_, scenario_.target);
  receiver_->on_settled([this](const std::optional<migration::MigrationResult>& figures) {
    const std::lock_guard lock(settled_mutex_);
    settled_ = figures;
    settled_changed_.notify_all();
  });
}

std::optional<std::optional<migration::MigrationResult>> Simulation::settled_within(
    Nanoseconds limit) {
  std::unique_lock lock(settled_mutex_);
  settled_changed_.wait_for(lock, limit, [this] { return settled_.has_value(); });
  return settled_;
}

Simulation::~Simulation() = default;

support::FakeMachine* Simulation::target_machine() {
  return static_cast<support::FakeMachine*>(target_result_.machine.get());
}

const migration::MigrationResult& Simulation::run() {
  if (scenario_.start_running) source_->resume();
  std::jthread target([this] { target_result_ = receiver_->run(); });
  result_ = migration_->run();
  // A source that failed leaves: its connections end, as those of a dead process would.
  if (result_.progress.status != Status::kCompleted) link_.cut_all();
  if (result_.progress.status != Status::kCompleted &&
      !migration::is_final(receiver_->progress().status)) {
    receiver_->cancel();
  }
  target.join();
  return result_;
}

std::string Simulation::violation() {
  const Status status = result_.progress.status;
  const bool here = source_->running();
  const bool there = target_machine() != nullptr && target_machine()->running();
  if (world_.most_running > 1) return "two copies of the guest ran at once";
  if (!migration::is_final(status)) return "the migration has no end";
  if (here && there) return "the guest runs on both sides";
  if (status == Status::kCompleted && (here || (scenario_.start_running && !there))) {
    return "completed, but the guest does not run at the target alone";
  }
  if ((status == Status::kFailed || status == Status::kCancelled) &&
      (here != scenario_.start_running || there)) {
    return fmt::format("{}, but the guest does not run on at the source",
                       migration::status_name(status));
  }
  if (status == Status::kUnknown && here) return "unknown, but the source runs";
  if (status != Status::kCompleted && !result_.error) return "no reason given";
  if (there && target_machine()->hash_at_resume() != migration::memory_hash(source_->memory())) {
    return "memory differs";
  }
  if (there && scenario_.parameters.copy_storage) {
    for (size_t i = 0; i < source_->disks(); ++i) {
      const support::FakeVolume& disk = target_machine()->disk(i);
      if (target_machine()->disks_at_resume()[i] != source_->disk(i).content())
        return fmt::format("disk {} differs", i);
      if (!disk.kept()) return fmt::format("disk {} is not the target's", i);
    }
  }
  for (size_t i = 0; i < source_->disks(); ++i) {
    if (source_->disk(i).tracking()) return fmt::format("disk {} is still tracked", i);
  }
  if (there && target_machine()->steps() < source_->steps()) return "the guest went back in time";
  return {};
}

}  // namespace godwit::sim
