// The source's state machine. One object per migration; every method runs on the thread in run(),
// but for cancel() and progress(). See PROTOCOL.md for the sequence.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "migration/engine/clock_sync.h"
#include "migration/engine/convergence.h"
#include "migration/engine/send_pool.h"
#include "migration/engine/storage_mirror.h"
#include "migration/page/free_pages.h"
#include "migration/source.h"
#include "migration/transport/rate_limiter.h"
#include "migration/wire/message_channel.h"

namespace godwit::migration {

class MigrationSource::Impl {
 public:
  Impl(vmm::Machine& machine, Connector& connector, const MigrationParameters& parameters,
       Observer observer);
  ~Impl() { end_free_pages(); }

  MigrationResult run();
  void cancel() noexcept;
  Progress progress() const;

 private:
  // The moments of a switchover, on this host's clock.
  struct Moments {
    vmm::PauseTimes pause;
    TimePoint saved;
    TimePoint harvested;
    TimePoint commit_sent;
  };
  enum class Handover { kNotBegun, kStopped, kCommitSent, kDone };

  Result<> migrate();
  // setup (source_setup.cc)
  Result<> connect_control();
  Result<> introduce();
  Result<> connect_data_channels();
  Result<std::unique_ptr<Channel>> connect_channel(wire::Role role, uint16_t channel);
  Result<> measure_link(uint32_t pings);
  Result<> rehearse();
  Result<> rehearse_once();
  void start_tracking();
  void ask_for_free_pages();
  void end_free_pages() noexcept;
  void note_left_out();
  // disks (source_storage.cc)
  Result<> choose_volumes();
  Result<> mirror_storage();
  Result<> await_pass();
  void start_storage_pass(bool last);
  void harvest_storage();
  void refresh_storage_locked();
  // pre-copy (source_precopy.cc)
  Result<> iterate_until_switchover();
  Result<> send_iteration();
  Result<> await_iteration();
  void harvest();
  void note_iteration(uint64_t wire_before);
  void record(const IterationReport& report);
  // switchover (source_switchover.cc)
  Result<> switch_over();
  [[nodiscard]] DowntimeBudget budget() const;
  Result<> send_residue_and_state();
  Result<wire::Loaded> await_loaded(TimePoint deadline);
  Result<> check_hash(const wire::Loaded& loaded);
  Result<> commit(const wire::Loaded& loaded);
  Nanoseconds switchover_limit() const;
  [[nodiscard]] uint64_t switchover_bytes() const;
  [[nodiscard]] Nanoseconds predicted_downtime() const;
  [[nodiscard]] wire::Settled settled() const;
  [[nodiscard]] wire::StateHead state_head(bool rehearsal, uint32_t iteration) const {
    return {rehearsal, iteration, clock_.offset().count()};
  }
  void fill_ledger(const wire::Loaded& loaded, const wire::Resumed& resumed);
  void become_active();
  // the end
  void give_up(const Error& error);
  Error reason_of_target(const Error& error);
  void resolve_unknown(const Error& error);
  Result<wire::Outcome> ask_outcome();
  void finish(Status status, std::optional<Error> error);
  // throughout
  Result<> tend(bool may_ping = true);
  Result<> handle_control_message();
  Result<> check_limits() const;
  void set_status(Status status);
  void publish();
  void refresh_progress();
  void refresh_iteration_locked(const PageCounts& counts);

  vmm::Machine& machine_;
  Connector& connector_;
  MigrationParameters parameters_;
  Observer observer_;
  std::atomic<bool> cancel_requested_{false};
  std::atomic<bool> connecting_{true};

  wire::SessionId session_{};
  std::unique_ptr<wire::MessageChannel> control_;
  std::unique_ptr<RateLimiter> limiter_;
  std::unique_ptr<SendPool> pool_;
  std::unique_ptr<PageSender> inline_sender_;
  std::vector<vmm::StorageVolume*> volumes_;  // those that come along
  std::unique_ptr<StorageMirror> storage_;    // null without any
  ClockSync clock_;
  Convergence convergence_;
  BudgetTerms terms_;
  Nanoseconds hash_time_{};                // with verify: estimated
  uint64_t own_hash_ = 0;                  // with verify: of memory as the guest was stopped
  vmm::FreePageHints* hints_ = nullptr;    // while a session is under way
  std::unique_ptr<FreePages> free_pages_;  // null when the guest was not asked
  vmm::DirtyBitmap sending_;
  vmm::DirtyBitmap found_;
  uint64_t found_pages_ = 0;
  uint64_t found_storage_bytes_ = 0;
  // Of the pass under way, for progress.
  uint64_t storage_pass_bytes_ = 0;
  uint64_t storage_pass_before_ = 0;
  uint64_t storage_pass_wire_before_ = 0;
  TimePoint storage_pass_start_;
  uint32_t iteration_ = 0;  // the latest one begun
  // Of the iteration under way, for progress.
  uint64_t iteration_pages_ = 0;
  PageCounts iteration_before_;
  TimePoint iteration_start_;
  TimePoint harvested_at_;
  ByteWriter state_;
  bool was_running_ = false;
  bool tracking_ = false;
  Handover handover_ = Handover::kNotBegun;
  Moments moments_;
  TimePoint started_;
  TimePoint heard_from_target_;
  TimePoint last_ping_;
  TimePoint last_publish_;
  Nanoseconds coordinator_cpu_start_{};

  mutable std::mutex mutex_;
  Progress progress_;       // guarded by mutex_; written by run()'s thread only
  MigrationResult result_;  // run()'s thread only
};

}  // namespace godwit::migration
