// Where the migration's thread leaves its news and the API's thread finds it.
#pragma once
#include <functional>
#include <mutex>

#include "tools/godwit/api/guest.h"

namespace godwit::tools {

// Threads: any.
class NewsBoard {
 public:
  [[nodiscard]] MigrationNews latest() const {
    const std::lock_guard lock(mutex_);
    return news_;
  }
  void on_change(std::function<void()> changed) {
    const std::lock_guard lock(mutex_);
    changed_ = std::move(changed);
  }
  // A new migration begins: the last one's result is gone.
  void begin() {
    const std::lock_guard lock(mutex_);
    news_ = {.revision = news_.revision + 1, .progress = {.status = migration::Status::kSetup}};
    tell();
  }
  // While the guest stands still nobody is woken: on a small host a busy API would be part of the
  // blackout. The next news comes at its end anyway.
  void progress(const migration::Progress& progress) {
    if (migration::is_final(progress.status)) return;  // finish() follows, with the result
    const std::lock_guard lock(mutex_);
    ++news_.revision;
    news_.progress = progress;
    if (progress.status != migration::Status::kDevice) tell();
  }
  // Returns the revision with that news.
  uint64_t finish(const migration::MigrationResult& result) {
    const std::lock_guard lock(mutex_);
    return finish_locked(result);
  }
  // More of the news of that revision has come; too late if there is newer news.
  void amend(uint64_t revision, const migration::MigrationResult& result) {
    const std::lock_guard lock(mutex_);
    if (news_.revision == revision) finish_locked(result);
  }

 private:
  uint64_t finish_locked(const migration::MigrationResult& result) {
    ++news_.revision;
    news_.progress = result.progress;
    news_.result = result;
    tell();
    return news_.revision;
  }
  void tell() {
    if (changed_) changed_();
  }
  mutable std::mutex mutex_;
  MigrationNews news_;
  std::function<void()> changed_;
};

}  // namespace godwit::tools
