// A machine without KVM for tests of the engine: real guest memory, and a "guest" that is a thread
// writing to it.
#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "tests/support/fake_volume.h"
#include "vmm/machine.h"

namespace godwit::support {

// What both ends of a test share: how many copies of the guest run.
struct World {
  std::atomic<int> running{0};
  std::atomic<int> most_running{0};
  void enter();
  void leave();
};

// Finds pages by what the writer marks through GuestMemory.
class HostWriteTracker final : public vmm::DirtyTracker {
 public:
  explicit HostWriteTracker(vmm::GuestMemory& memory) : memory_(memory) {}
  void start() override { memory_.record_host_writes(true); }
  void harvest(vmm::DirtyBitmap& into) override {
    ++harvests;
    memory_.drain_host_writes(into);
  }
  void stop() noexcept override { memory_.record_host_writes(false); }
  [[nodiscard]] std::string_view name() const override { return "host-writes"; }
  std::atomic<int> harvests{0};

 private:
  vmm::GuestMemory& memory_;
};

struct FakeGuest {
  ByteCount memory = 32_MiB;
  uint64_t working_set_pages = 1024;
  uint64_t pages_per_millisecond = 100;  // 0: an idle guest
  uint64_t filled_pages = 2048;          // with content, from the start
  std::array<uint64_t, 2> disks{};       // sizes in bytes, 0: none; a third of each is filled
  uint64_t disk_writes_per_millisecond = 0;
};

class FakeMachine : public vmm::Machine {
 public:
  FakeMachine(World& world, const FakeGuest& guest, bool fill);
  ~FakeMachine() override;

  vmm::MachineDescription describe() const override;
  vmm::GuestMemory& memory() override { return *memory_; }
  vmm::DirtyTracker& dirty_tracker() override { return tracker_; }
  vmm::FreePageHints* free_page_hints() override { return hints; }
  std::vector<vmm::StorageVolume*> volumes() override;
  vmm::PauseTimes pause() override;
  void resume() override;
  bool running() const override { return running_; }
  void save(ByteWriter& out) override;
  Result<> load(std::span<const std::byte> state, std::optional<Nanoseconds> clock_offset) override;
  std::optional<TimePoint> wait_first_entry(Nanoseconds limit) override;

  [[nodiscard]] FakeVolume& disk(size_t i) { return *disks_[i]; }
  [[nodiscard]] size_t disks() const { return disks_.size(); }
  // The disks as they were when resume() was last called.
  [[nodiscard]] const std::vector<std::vector<std::byte>>& disks_at_resume() const {
    return disks_at_resume_;
  }
  // The guest's own count of its writes: continues across a move.
  [[nodiscard]] uint64_t steps() const { return steps_; }
  // Memory as it was when resume() was last called.
  [[nodiscard]] uint64_t hash_at_resume() const { return hash_at_resume_; }
  [[nodiscard]] int loads() const { return loads_; }
  // Called in pause(), before the guest is stopped.
  std::function<void()> on_pause;
  // What the guest does beside, once a millisecond: on its thread, and never while it is stopped.
  std::function<void()> beside;
  // A store as the guest makes it: the engine may read the page meanwhile.
  void guest_write(Gpa gpa, std::span<const uint64_t> words);
  // What the machine says it has.
  vmm::FreePageHints* hints = nullptr;
  // As the latest load() was given it.
  [[nodiscard]] std::optional<Nanoseconds> clock_offset() const { return clock_offset_; }

  // load() fails with this.
  std::optional<Error> load_error;

 private:
  void write_pages(const std::stop_token& stop);
  void step();
  void write_disk();

  World& world_;
  FakeGuest guest_;
  std::unique_ptr<vmm::GuestMemory> memory_;
  HostWriteTracker tracker_;
  std::vector<std::unique_ptr<FakeVolume>> disks_;
  std::vector<std::vector<std::byte>> disks_at_resume_;
  std::atomic<bool> running_{false};
  std::atomic<uint64_t> steps_{0};
  uint64_t random_ = 88172645463325252ull;
  uint64_t hash_at_resume_ = 0;
  int loads_ = 0;
  std::optional<Nanoseconds> clock_offset_;
  TimePoint entered_;
  std::jthread writer_;
};

// Makes fake machines for a target; keeps a pointer to the last one.
class FakeFactory final : public vmm::MachineFactory {
 public:
  FakeFactory(World& world, const FakeGuest& guest) : world_(world), guest_(guest) {}
  Result<std::unique_ptr<vmm::Machine>> create(const vmm::MachineDescription& description) override;
  std::optional<Error> refuse;
  std::optional<Error> load_error;
  std::optional<Error> disk_error;  // of every write to the disks
  std::atomic<int> made{0};

 private:
  World& world_;
  FakeGuest guest_;
};

}  // namespace godwit::support
