// A machine, a sender and a receiver that a test steers.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>

#include "tools/godwit/process/engine.h"
#include "tools/godwit/process/guest_machine.h"

namespace godwit::tools {

// What happened, in order; survives the objects that it happened to.
class Journal {
 public:
  void add(const std::string& entry) {
    const std::lock_guard lock(mutex_);
    entries_.push_back(entry);
  }
  std::vector<std::string> entries() const {
    const std::lock_guard lock(mutex_);
    return entries_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> entries_;
};

class FakeTracker final : public vmm::DirtyTracker {
 public:
  void start() override {}
  void harvest(vmm::DirtyBitmap&) override {}
  void stop() noexcept override {}
  [[nodiscard]] std::string_view name() const override { return "dirty-fake"; }
};

class FakeMachine final : public GuestMachine {
 public:
  explicit FakeMachine(Journal& journal, bool running = false)
      : journal_(journal), running_(running) {
    memory_ = std::move(vmm::GuestMemory::create({.size = 16_MiB})).value();
  }
  ~FakeMachine() override { journal_.add("destroyed"); }
  [[nodiscard]] std::string console() const override { return "null"; }
  bool press_power_button() override {
    journal_.add(listens ? "button" : "button unheard");
    return listens;
  }
  Result<std::unique_ptr<GuestMachine>> reboot(const BootOptions& boot) override {
    journal_.add("reboot " + boot.kernel);
    running_ = false;
    if (reboot_error) return *reboot_error;
    return std::unique_ptr<GuestMachine>(std::make_unique<FakeMachine>(journal_));
  }
  void shut_down(bool elsewhere) noexcept override {
    journal_.add(elsewhere ? "shut down, elsewhere" : "shut down");
    running_ = false;
  }
  [[nodiscard]] vmm::MachineDescription describe() const override {
    return {.arch = "x86_64", .memory_size = 16_MiB, .vcpus = 3, .devices = {}, .cpu = {}};
  }
  [[nodiscard]] vmm::GuestMemory& memory() override { return *memory_; }
  [[nodiscard]] vmm::DirtyTracker& dirty_tracker() override { return tracker_; }
  vmm::PauseTimes pause() override {
    journal_.add("pause");
    running_ = false;
    return {};
  }
  void resume() override {
    journal_.add("resume");
    running_ = true;
  }
  [[nodiscard]] bool running() const override { return running_; }
  void save(ByteWriter&) override {}
  Result<> load(std::span<const std::byte>, std::optional<Nanoseconds>) override { return {}; }
  std::optional<TimePoint> wait_first_entry(Nanoseconds) override { return now(); }

  bool listens = true;  // to the power button
  std::optional<Error> reboot_error;

 private:
  Journal& journal_;
  FakeTracker tracker_;
  std::unique_ptr<vmm::GuestMemory> memory_;
  std::atomic<bool> running_;
};

// Ends when told how, or as cancelled.
template <class T>
class Awaited {
 public:
  void set(T value) {
    const std::lock_guard lock(mutex_);
    if (!value_) value_ = std::move(value);
    ready_.notify_all();
  }
  T wait() {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, std::chrono::seconds(30), [&] { return value_.has_value(); });
    return std::move(value_).value();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::optional<T> value_;
};

inline migration::MigrationResult ended(migration::Status status, Errc code = Errc::kIo) {
  migration::MigrationResult result;
  result.progress.status = status;
  if (status != migration::Status::kCompleted) result.error = Error{code, "as the test says"};
  return result;
}

struct Steering {
  Awaited<migration::MigrationResult> sent;
  Awaited<bool> arrived;  // false: cancelled
  migration::MigrationTarget::OnSettled settled;
  std::atomic<bool> receiver_gone{false};
};

class FakeSender final : public Sender {
 public:
  explicit FakeSender(Steering& steering) : steering_(steering) {}
  migration::MigrationResult run() override { return steering_.sent.wait(); }
  void cancel() noexcept override {
    steering_.sent.set(ended(migration::Status::kCancelled, Errc::kCancelled));
  }

 private:
  Steering& steering_;
};

class FakeReceiver final : public Receiver {
 public:
  FakeReceiver(Steering& steering, Journal& journal) : steering_(steering), journal_(journal) {}
  migration::TargetResult run() override {
    migration::TargetResult result;
    if (steering_.arrived.wait())
      result.machine = std::make_unique<FakeMachine>(journal_, true);
    else
      result.error = make_error(Errc::kCancelled, "cancelled");
    return result;
  }
  void on_settled(migration::MigrationTarget::OnSettled settled) override {
    steering_.settled = std::move(settled);
  }
  void cancel() noexcept override { steering_.arrived.set(false); }
  ~FakeReceiver() override { steering_.receiver_gone = true; }

 private:
  Steering& steering_;
  Journal& journal_;
};

}  // namespace godwit::tools
