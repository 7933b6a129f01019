// The switchover: the guest stands still from pause() on, so nothing here logs, allocates more than
// it must, or waits for anything but the target.
#include "migration/engine/source_impl.h"
#include "migration/page/memory_hash.h"

namespace godwit::migration {
namespace {

// Up to this many pages go over the control connection: waking the data channels' threads on both
// sides costs more than sending 512 KiB.
constexpr uint64_t kInlinePages = 128;
constexpr Nanoseconds kSwitchoverTick = std::chrono::milliseconds(5);
constexpr Nanoseconds kSwitchoverSlack = std::chrono::milliseconds(100);
// What a hash of memory is assumed to take at worst, only for the time-out with --verify.
constexpr double kHashBytesPerSecond = 2e8;

}  // namespace

// How long the guest may stand still before the switchover is called off.
Nanoseconds MigrationSource::Impl::switchover_limit() const {
  Nanoseconds limit = convergence_.predicted() * 3 + parameters_.downtime_limit + kSwitchoverSlack;
  if (parameters_.verify) {
    limit +=
        from_seconds(static_cast<double>(machine_.memory().size().value) / kHashBytesPerSecond);
  }
  return limit;
}

// What the guest will feel. The budget leaves out the hash of --verify: a limit is not kept by
// never switching over.
Nanoseconds MigrationSource::Impl::predicted_downtime() const {
  return convergence_.predicted() + hash_time_;
}

// As the last decision saw it.
DowntimeBudget MigrationSource::Impl::budget() const {
  return {.stop = terms_.stop,
          .save = terms_.save,
          .harvest = terms_.harvest,
          .pages = convergence_.predicted() - terms_.fixed(),
          .state = terms_.send_state,
          .load = terms_.load,
          .round_trip = terms_.round_trip,
          .hash = hash_time_};
}

Result<> MigrationSource::Impl::switch_over() {
  GODWIT_TRY(measure_link(3));  // the freshest offset, and both ends awake
  result_.predicted_downtime = predicted_downtime();
  result_.budget = budget();
  set_status(Status::kDevice);
  state_.clear();
  const uint64_t bytes_before = switchover_bytes();
  handover_ = Handover::kStopped;
  moments_.pause.requested = now();
  moments_.pause = machine_.pause();
  const TimePoint deadline = moments_.pause.requested + switchover_limit();
  machine_.save(state_);
  moments_.saved = now();
  machine_.dirty_tracker().harvest(sending_);
  if (storage_) harvest_storage();
  moments_.harvested = now();
  GODWIT_TRY(send_residue_and_state());
  GODWIT_ASSIGN(const wire::Loaded loaded, await_loaded(deadline));
  if (parameters_.verify) GODWIT_TRY(check_hash(loaded));
  result_.downtime_bytes = switchover_bytes() - bytes_before;
  return commit(loaded);
}

uint64_t MigrationSource::Impl::switchover_bytes() const {
  return pool_->stats().bytes_sent + control_->raw().stats().bytes_sent +
         (storage_ ? storage_->counts().wire_bytes : 0);
}

Result<> MigrationSource::Impl::send_residue_and_state() {
  if (storage_) start_storage_pass(true);
  found_pages_ = sending_.count();
  if (found_pages_ <= kInlinePages) {
    GODWIT_TRY(control_->queue(wire::MessageType::kResidue, wire::Residue{iteration_ + 1}));
    GODWIT_TRY(inline_sender_->send_iteration(control_->raw(), sending_, iteration_ + 1, {0, 1},
                                              PageSender::Flush::kNo));
    return control_->send_state(state_head(false, iteration_), state_.view());
  }
  pool_->start(sending_, iteration_ + 1);
  return control_->send_state(state_head(false, iteration_ + 1), state_.view());
}

Result<wire::Loaded> MigrationSource::Impl::await_loaded(TimePoint deadline) {
  if (parameters_.verify) {
    note_left_out();
    own_hash_ = memory_hash(machine_.memory(), free_pages_ ? &free_pages_->left_out() : nullptr);
  }
  for (;;) {
    GODWIT_ASSIGN(const bool readable, control_->raw().wait_readable(kSwitchoverTick));
    if (readable) {
      GODWIT_ASSIGN(const auto message, control_->expect(wire::MessageType::kLoaded));
      GODWIT_ASSIGN(const auto loaded, wire::decode_loaded(message.payload));
      if (loaded.rehearsal)
        return Error{Errc::kProtocol, "LOADED for a rehearsal at the switchover"};
      return loaded;
    }
    GODWIT_TRY(check_limits());
    GODWIT_TRY(pool_->wait(Nanoseconds(0)));
    if (storage_) GODWIT_TRY(storage_->wait(Nanoseconds(0)));
    if (now() > deadline) {
      return make_error(Errc::kTimeout,
                        "the target was not ready {:.1f} ms after the guest was stopped "
                        "(predicted: {:.3f} ms)",
                        to_ms(now() - moments_.pause.requested), to_ms(convergence_.predicted()));
    }
  }
}

Result<> MigrationSource::Impl::check_hash(const wire::Loaded& loaded) {
  if (!loaded.memory_hash) {
    return Error{Errc::kProtocol, "the target sent no hash although one was asked for"};
  }
  const VerifyReport& report =
      result_.verify.emplace(VerifyReport{.equal = own_hash_ == *loaded.memory_hash,
                                          .source_hash = own_hash_,
                                          .target_hash = *loaded.memory_hash});
  if (report.equal) return {};
  return make_error(
      Errc::kCorrupt,
      "memory differs: hash {:016x} here, {:016x} at the target. Nothing was handed over",
      report.source_hash, report.target_hash);
}

// From the first byte of COMMIT on, the target may run: no failure below lets the guest go on here
// by itself.
Result<> MigrationSource::Impl::commit(const wire::Loaded& loaded) {
  GODWIT_TRY(check_limits());
  machine_.release();
  handover_ = Handover::kCommitSent;
  moments_.commit_sent = now();
  GODWIT_TRY(control_->send(wire::MessageType::kCommit));
  control_->raw().set_timeout(parameters_.io_timeout);
  GODWIT_ASSIGN(const bool readable, control_->raw().wait_readable(parameters_.io_timeout));
  if (!readable) return Error{Errc::kTimeout, "the target does not confirm that the guest runs"};
  GODWIT_ASSIGN(const auto message, control_->expect(wire::MessageType::kResumed));
  GODWIT_ASSIGN(const auto resumed, wire::decode_resumed(message.payload));
  handover_ = Handover::kDone;
  fill_ledger(loaded, resumed);
  // The guest has moved, whether the target hears that this side knows or not.
  refresh_progress();
  (void)control_->send(wire::MessageType::kSettled, settled());
  return {};
}

wire::Settled MigrationSource::Impl::settled() const {
  const std::lock_guard lock(mutex_);
  return {
      .total_ns = (now() - started_).count(),
      .setup_ns = progress_.setup_time.count(),
      .predicted_downtime_ns = result_.predicted_downtime.count(),
      .round_trip_ns = result_.round_trip.count(),
      .ledger = *result_.ledger,
      .iterations = iteration_,
      .channels = parameters_.multifd_channels,
      .transferred_bytes = progress_.transferred_bytes,
      .downtime_bytes = result_.downtime_bytes,
      .normal_pages = progress_.normal_pages,
      .duplicate_pages = progress_.duplicate_pages,
      .untouched_pages = progress_.untouched_pages,
      .lz4_pages = progress_.lz4_pages,
      .lz4_bytes_in = progress_.lz4_bytes_in,
      .lz4_bytes_out = progress_.lz4_bytes_out,
      .free_pages = progress_.free_pages,
  };
}

void MigrationSource::Impl::fill_ledger(const wire::Loaded& loaded, const wire::Resumed& resumed) {
  const TimePoint ends[kPhases] = {
      moments_.pause.stopped,
      moments_.pause.quiesced,
      moments_.saved,
      moments_.harvested,
      clock_.to_local(loaded.received_ns),
      clock_.to_local(loaded.loaded_ns),
      clock_.to_local(resumed.commit_ns),
      clock_.to_local(resumed.first_entry_ns),
  };
  DowntimeLedger ledger;
  TimePoint begin = moments_.pause.requested;
  for (size_t i = 0; i < kPhases; ++i) {
    ledger.phases[i] = ends[i] - begin;
    begin = ends[i];
  }
  ledger.total = ends[kPhases - 1] - moments_.pause.requested;
  ledger.clock_offset = clock_.offset();
  ledger.clock_offset_error = clock_.error();
  result_.ledger = ledger;
  result_.downtime = ledger.total;
  result_.round_trip = clock_.round_trip();
}

}  // namespace godwit::migration
