// A virtio device with a driver in this process, for benchmarks: doorbells ring eventfds as they do
// under KVM, interrupts are counted and go nowhere, and the driver looks at the used ring itself.
#pragma once
#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <utility>

#include "devices/virtio/pci_device.h"
#include "devices/virtio/pci_layout.h"
#include "devices/virtio/spec.h"
#include "tests/virtio/driver.h"

namespace godwit::bench {

namespace virtio = devices::virtio;

class CountingMsi final : public vmm::MsiSink {
 public:
  void signal(uint64_t, uint32_t) override { count_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> count_{0};
};

class EventDoorbells final : public vmm::Doorbells {
 public:
  bool attach(uint64_t address, int event_fd) override {
    at_[address] = event_fd;
    return true;
  }
  void detach(uint64_t address, int) noexcept override { at_.erase(address); }
  // Of the queue with that index: they are attached in the order of addresses.
  [[nodiscard]] int fd(size_t queue) const {
    return std::next(at_.begin(), static_cast<long>(queue))->second;
  }

 private:
  std::map<uint64_t, int> at_;
};

// CPU time of all threads but the caller's, and how often any of them gave up a CPU to wait.
struct DeviceUse {
  std::chrono::nanoseconds cpu{};
  uint64_t waits = 0;

  static DeviceUse now() {
    rusage all{}, own{};
    ::getrusage(RUSAGE_SELF, &all);
    ::getrusage(RUSAGE_THREAD, &own);
    return {time_of(all) - time_of(own), static_cast<uint64_t>(all.ru_nvcsw - own.ru_nvcsw)};
  }

 private:
  static std::chrono::nanoseconds time_of(const rusage& use) {
    const auto of = [](const timeval& t) {
      return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
    };
    return of(use.ru_utime) + of(use.ru_stime);
  }
};

class BenchMachine {
 public:
  BenchMachine(std::unique_ptr<virtio::Model> model, uint64_t features, uint16_t queues)
      : device_(std::move(model), {.slot = 1}, *memory_, msi_, doorbells_) {
    device_.resume();
    driver_.start(features | virtio::kEventIdx | virtio::kIndirect, queues, 256);
  }
  [[nodiscard]] vmm::GuestMemory& memory() { return *memory_; }
  [[nodiscard]] virtio::DriverQueue& queue(uint16_t index) { return driver_.queue(index); }
  // As Linux does it: an interrupt for the next that comes back, then the doorbell.
  void kick(uint16_t index) {
    queue(index).set_used_event(queue(index).used_index());
    const uint64_t one = 1;
    if (::write(doorbells_.fd(index), &one, sizeof one) != sizeof one) std::abort();
  }
  // Until `count` came back; false after ten seconds.
  bool wait(uint16_t index, size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (count > 0) {
      const size_t came = queue(index).take_used().size();
      if (came == 0) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        ::sched_yield();
      }
      count -= std::min(count, came);
    }
    return true;
  }
  // Costs since `begin` for each of `items`.
  void report(benchmark::State& state, const DeviceUse& begin, uint64_t interrupts,
              uint64_t items) const {
    const DeviceUse use = DeviceUse::now();
    const auto each = [&](uint64_t value) {
      return static_cast<double>(value) / static_cast<double>(items);
    };
    state.SetItemsProcessed(static_cast<int64_t>(items));
    state.counters["device_cpu_ns"] = each(static_cast<uint64_t>((use.cpu - begin.cpu).count()));
    state.counters["waits"] = each(use.waits - begin.waits);
    state.counters["interrupts"] = each(msi_.count() - interrupts);
  }
  [[nodiscard]] uint64_t interrupts() const { return msi_.count(); }

 private:
  std::unique_ptr<vmm::GuestMemory> memory_ =
      std::move(*vmm::GuestMemory::create({.size = {32u << 20}, .prealloc = true}));
  CountingMsi msi_;
  EventDoorbells doorbells_;
  virtio::PciDevice device_;
  virtio::Driver driver_{device_, *memory_};
};

}  // namespace godwit::bench
