// Disks that come along: the source's side. Most of their content goes before the first page, while
// the guest's memory is not tracked yet; what changes meanwhile, and while memory is copied, goes
// in passes beside the iterations; the rest in the switchover.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "migration/engine/source_impl.h"

namespace godwit::migration {
namespace {

constexpr Nanoseconds kTick = std::chrono::milliseconds(100);
// Passes before memory's turn comes in any case: the ones beside it go on.
constexpr uint32_t kMostPassesAhead = 16;

}  // namespace

Result<> MigrationSource::Impl::choose_volumes() {
  if (!parameters_.copy_storage) return {};
  volumes_ = machine_.volumes();
  if (volumes_.empty()) {
    spdlog::info("migration: the guest has no disk of this host's own to copy");
    return {};
  }
  StorageProgress storage{.volumes = static_cast<uint32_t>(volumes_.size())};
  for (const vmm::StorageVolume* volume : volumes_)
    storage.total_bytes += volume->description().size_bytes;
  storage.remaining_bytes = storage.total_bytes;
  storage_pass_bytes_ = storage.total_bytes;
  const std::lock_guard lock(mutex_);
  progress_.storage = storage;
  return {};
}

// The rehearsal comes before hours of copying, too: what the target cannot load is known then.
// It also stops the disks for a moment, so that none of their threads misses that changes are
// tracked from here on.
Result<> MigrationSource::Impl::mirror_storage() {
  storage_->start_tracking();
  GODWIT_TRY(rehearse_once());
  become_active();
  const TimePoint start = now();
  found_storage_bytes_ = storage_->total_bytes();
  uint64_t before = 0;
  for (uint32_t pass = 1; pass <= kMostPassesAhead && found_storage_bytes_ > 0; ++pass) {
    before = found_storage_bytes_;
    start_storage_pass(false);
    GODWIT_TRY(await_pass());
    if (pass == 1) {
      const std::lock_guard lock(mutex_);
      progress_.storage->first_pass = now() - start;
    }
    harvest_storage();
    spdlog::debug("migration: disks: pass {}: {} KiB changed meanwhile", pass,
                  found_storage_bytes_ >> 10);
    const bool fits = terms_.storage * 4 < parameters_.downtime_limit;
    const bool shrinks = found_storage_bytes_ * 4 < before * 3;
    if (pass > 1 && (fits || !shrinks)) break;
  }
  // No pong of a ping sent meanwhile may come where the next rehearsal's answer is due.
  return measure_link(1);
}

Result<> MigrationSource::Impl::await_pass() {
  for (;;) {
    GODWIT_ASSIGN(const bool done, storage_->wait(clock_.look_again_after(kTick)));
    if (done) return {};
    GODWIT_TRY(tend());
  }
}

void MigrationSource::Impl::harvest_storage() {
  found_storage_bytes_ = storage_->harvest();
  terms_.storage = storage_->predict(found_storage_bytes_);
}

void MigrationSource::Impl::start_storage_pass(bool last) {
  const StorageCounts counts = storage_->counts();
  storage_pass_before_ = counts.data_bytes + counts.zero_bytes;
  storage_pass_bytes_ = found_storage_bytes_;
  storage_pass_start_ = now();
  storage_pass_wire_before_ = counts.wire_bytes;
  if (last) {
    const std::lock_guard lock(mutex_);
    progress_.storage->last_delta_bytes = found_storage_bytes_;
  }
  storage_->start_pass(last);
}

void MigrationSource::Impl::refresh_storage_locked() {
  StorageProgress& s = *progress_.storage;
  const StorageCounts counts = storage_->counts();
  s.data_bytes = counts.data_bytes;
  s.zero_bytes = counts.zero_bytes;
  s.transferred_bytes = counts.wire_bytes;
  s.passes = storage_->passes();
  const uint64_t done = s.data_bytes + s.zero_bytes - storage_pass_before_;
  s.remaining_bytes = storage_pass_bytes_ - std::min(done, storage_pass_bytes_);
  if (progress_.status == Status::kCompleted) s.remaining_bytes = 0;
  // Before the first page the link is the disks' alone.
  const Nanoseconds spent = now() - storage_pass_start_;
  if (progress_.status != Status::kActive || iteration_ > 0 || spent < kTick || done == 0) return;
  const double seconds = to_seconds(spent);
  progress_.wire_bytes_per_second =
      static_cast<double>(counts.wire_bytes - storage_pass_wire_before_) / seconds;
  progress_.time_left =
      from_seconds(static_cast<double>(s.remaining_bytes) * seconds / static_cast<double>(done));
}

}  // namespace godwit::migration
