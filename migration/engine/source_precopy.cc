// The iterations of pre-copy.
#include <spdlog/spdlog.h>

#include <utility>

#include "migration/engine/source_impl.h"

namespace godwit::migration {
namespace {

constexpr Nanoseconds kTick = std::chrono::milliseconds(100);
// An iteration that moved fewer pages than this measures the round trip, not the bandwidth.
constexpr uint64_t kPagesThatMeasure = 256;
// Between two harvests: harvesting without a pause keeps a vCPU busy with re-armed pages and
// nothing else.
constexpr Nanoseconds kMinIteration = std::chrono::milliseconds(2);
// The same for a guest that does not converge: more rounds bring nothing but brownout.
constexpr Nanoseconds kMinIterationStuck = std::chrono::milliseconds(50);
// Of a migration that goes on for long, the first and the latest iterations are kept.
constexpr size_t kIterationsKept = 256;

}  // namespace

Result<> MigrationSource::Impl::iterate_until_switchover() {
  for (;;) {
    GODWIT_TRY(send_iteration());
    GODWIT_TRY(tend());
    const Convergence::Sample sample{.at = now(),
                                     .sent_pages = result_.iterations.back().normal_pages,
                                     .dirty_pages = found_pages_,
                                     .dirty_storage_bytes = found_storage_bytes_,
                                     .terms = terms_};
    const bool was_converging = convergence_.converging();
    const Decision decision = convergence_.decide(sample);
    result_.iterations.back().predicted_downtime = predicted_downtime();
    {
      const std::lock_guard lock(mutex_);
      progress_.expected_downtime = predicted_downtime();
      progress_.converging = convergence_.converging();
    }
    spdlog::debug("migration: iteration {}: {}", result_.iterations.back().number,
                  convergence_.reason());
    if (was_converging && !convergence_.converging()) {
      spdlog::warn("migration: {}", convergence_.reason());
    }
    if (decision == Decision::kSwitchover) return {};
    if (decision == Decision::kCancel) {
      cancel_requested_.store(true);
      return make_error(Errc::kCancelled, "cancelled: the guest {} (--on-no-converge=cancel)",
                        convergence_.reason());
    }
    publish();
  }
}

Result<> MigrationSource::Impl::send_iteration() {
  const uint32_t number = ++iteration_;
  iteration_start_ = now();
  iteration_before_ = pool_->counts();
  iteration_pages_ = sending_.count();
  const uint64_t wire_before = pool_->stats().bytes_sent;
  {
    const std::lock_guard lock(mutex_);
    progress_.iteration = number;
  }
  // What a harvest found is sent in any case.
  pool_->start(sending_, number, number == 1 ? free_pages_.get() : nullptr);
  if (found_storage_bytes_ > 0) start_storage_pass(false);
  GODWIT_TRY(await_iteration());
  end_free_pages();
  record({.number = number, .duration = now() - iteration_start_});
  const Nanoseconds least = convergence_.converging() ? kMinIteration : kMinIterationStuck;
  if (const Nanoseconds spent = now() - harvested_at_; spent < least) {
    GODWIT_ASSIGN(const bool readable, control_->raw().wait_readable(least - spent));
    if (readable) GODWIT_TRY(tend(false));
  }
  harvest();
  note_iteration(wire_before);
  return {};
}

Result<> MigrationSource::Impl::await_iteration() {
  for (;;) {
    GODWIT_ASSIGN(const bool done, pool_->wait(clock_.look_again_after(kTick)));
    if (done) break;
    GODWIT_TRY(tend());
  }
  return storage_ ? await_pass() : Result<>();
}

void MigrationSource::Impl::record(const IterationReport& report) {
  auto& kept = result_.iterations;
  if (kept.size() == kIterationsKept) kept.erase(kept.begin() + kIterationsKept / 2);
  kept.push_back(report);
}

// What was dirtied meanwhile is the next iteration's work.
void MigrationSource::Impl::harvest() {
  found_.clear_all();
  const TimePoint before = now();
  machine_.dirty_tracker().harvest(found_);
  const TimePoint after = now();
  found_pages_ = found_.count();
  terms_.harvest = after - before;
  if (storage_) harvest_storage();
  IterationReport& report = result_.iterations.back();
  const double seconds = to_seconds(after - harvested_at_);
  report.dirty_pages_left = found_pages_;
  report.dirty_pages_per_second = seconds > 0 ? static_cast<double>(found_pages_) / seconds : 0;
  harvested_at_ = after;
  std::swap(sending_, found_);
  note_left_out();
}

// What is to be sent is not left out any more. Only a hash asks for it.
void MigrationSource::Impl::note_left_out() {
  if (parameters_.verify && free_pages_) free_pages_->note_sent(sending_);
}

void MigrationSource::Impl::note_iteration(uint64_t wire_before) {
  IterationReport& report = result_.iterations.back();
  const PageCounts after = pool_->counts();
  const PageCounts& before = iteration_before_;
  const double seconds = to_seconds(report.duration);
  report.normal_pages = after.normal - before.normal;
  report.duplicate_pages = after.duplicate - before.duplicate;
  report.lz4_pages = after.lz4_pages - before.lz4_pages;
  report.wire_bytes = pool_->stats().bytes_sent - wire_before;
  report.wire_bytes_per_second = static_cast<double>(report.wire_bytes) / seconds;
  if (report.normal_pages >= kPagesThatMeasure || terms_.pages_per_second == 0) {
    terms_.pages_per_second =
        static_cast<double>(std::max<uint64_t>(report.normal_pages, 1)) / seconds;
  }
  terms_.round_trip = clock_.round_trip();
  iteration_before_ = after;
  iteration_pages_ = found_pages_;
  const std::lock_guard lock(mutex_);
  progress_.wire_bytes_per_second = report.wire_bytes_per_second;
  progress_.dirty_pages_per_second = report.dirty_pages_per_second;
  if (terms_.pages_per_second > 0) {
    progress_.time_left = from_seconds(static_cast<double>(found_pages_) / terms_.pages_per_second);
  }
}

}  // namespace godwit::migration
