// A guest that does what it is told and whose migration the test steers.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "tools/godwit/api/guest.h"

namespace godwit::tools {

class FakeGuest final : public Guest {
 public:
  GuestInfo info() override {
    GuestInfo info;
    info.name = "fake";
    info.pid = 4711;
    info.state = state;
    info.vcpus = 2;
    info.memory = 64_MiB;
    info.kernel = "builtin:workload";
    info.console = "null";
    info.dirty_tracking = "dirty-log";
    info.uptime = std::chrono::milliseconds(1500);
    info.balloon = {.target = ByteCount{balloon.load()}, .actual = 64_MiB, .free = 4096};
    info.disks = {{.id = "root",
                   .source = "/srv/root.img",
                   .size = 1_GiB,
                   .read_only = true,
                   .requests = 12,
                   .failed = 3}};
    info.networks = {{.id = "net0",
                      .interface = "tap0",
                      .mac = "52:54:00:12:34:56",
                      .sent_frames = 1,
                      .sent_bytes = 2048,
                      .received_frames = 4,
                      .received_bytes = 5 << 20,
                      .dropped_frames = 6}};
    return info;
  }
  Result<> pause() override {
    state = GuestState::kPaused;
    return {};
  }
  Result<> resume(bool fenced) override {
    if (state == GuestState::kUnknownOutcome && !fenced)
      return make_error(Errc::kPrecondition, "it may run at the target");
    state = GuestState::kRunning;
    return {};
  }
  Result<> press_power_button() override {
    ++presses;
    if (state != GuestState::kRunning)
      return make_error(Errc::kPrecondition, "it would not hear of it");
    return {};
  }
  Result<> shut_down() override {
    state = GuestState::kShutDown;
    return {};
  }
  Result<> resize_balloon(ByteCount memory) override {
    if (memory > 64_MiB) return make_error(Errc::kInvalidArgument, "it has 64 MiB");
    balloon = memory.value;
    return {};
  }
  Result<> send_migration(const MigrationRequest& request) override {
    const std::lock_guard lock(mutex_);
    if (news_.revision > 0 && !news_.result)
      return make_error(Errc::kPrecondition, "a migration is under way");
    requests.push_back(request);
    news_ = {.revision = 1};
    news_.progress.status = migration::Status::kSetup;
    started_.notify_all();
    return {};
  }
  Result<> cancel_migration() override {
    ++cancels;
    migration::MigrationResult result;
    result.progress.status = migration::Status::kCancelled;
    result.error = make_error(Errc::kCancelled, "cancelled by the user");
    finish(result);
    return {};
  }
  MigrationNews migration() override {
    const std::lock_guard lock(mutex_);
    return news_;
  }
  void on_migration_change(std::function<void()> changed) override {
    const std::lock_guard lock(mutex_);
    changed_ = std::move(changed);
  }

  // For the test, from its own thread.
  void progress(const migration::Progress& progress) {
    const std::lock_guard lock(mutex_);
    ++news_.revision;
    news_.progress = progress;
    if (changed_) changed_();
  }
  void finish(const migration::MigrationResult& result) {
    const std::lock_guard lock(mutex_);
    ++news_.revision;
    news_.progress = result.progress;
    news_.result = result;
    if (changed_) changed_();
  }
  bool wait_until_started() {
    std::unique_lock lock(mutex_);
    return started_.wait_for(lock, std::chrono::seconds(20), [&] { return news_.revision > 0; });
  }

  std::atomic<GuestState> state{GuestState::kRunning};
  std::atomic<int> cancels{0};
  std::atomic<int> presses{0};
  std::atomic<uint64_t> balloon{(64_MiB).value};
  std::vector<MigrationRequest> requests;

 private:
  std::mutex mutex_;
  std::condition_variable started_;
  std::function<void()> changed_;
  MigrationNews news_;
};

}  // namespace godwit::tools
