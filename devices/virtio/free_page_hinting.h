// Free page hinting of a balloon (virtio 1.2, 5.5.6.5): during a migration the guest is asked which
// pages it does not use. vmm/free_page_hints.h has the argument why these need not travel.
//
//   host: begin()                    free_page_hint_cmd_id = N, a new number; the driver is told
//   driver, on its queue             4 bytes N | pages, pages, ... | 4 bytes STOP (no more is free)
//   host: STOP was heard, or end()   free_page_hint_cmd_id = DONE: the driver has its pages back
//
// What counts is only what comes behind N: the driver read N after begin(), so those hints are of
// this session. What an earlier session left in the queue is in front of N and is dropped, like all
// that comes behind STOP or after end(). Requests are given back in any case.
//
// It has to be asked for. Linux takes each block from its allocator to hint it, and a kernel with
// init_on_alloc=1 (Debian's and Ubuntu's default) fills it with zeroes as it does: that costs the
// guest time, the host memory that the guest had not touched, and the pages are dirty and go out as
// zero pages after all. What they held before does not travel, but of a guest that reports its free
// pages that is only what it has freed in the last seconds. On the lab's emulated hosts a client of
// Debian waited 0.5 s at most in five moves without hints, and more than 6.6 s in four of five with
// them (bench/RESULTS.md).
//
// DONE is said as soon as the guest has nothing more to give, not when the guest has moved. Linux
// keeps every free block of 4 MiB until DONE, down to its low watermark; for as long as a migration
// lasts that would mean reclaim, and packets dropped for want of memory. The price: a page that the
// driver never writes after DONE may read otherwise at the target than here (zeroes),
// though 5.5.6.5 wants the device to leave such a page alone. The driver must treat what it hinted
// as uninitialised (the same section), and a driver with expectations says so by a poison value: it
// is not asked.
#pragma once
#include <atomic>
#include <functional>
#include <mutex>

#include "devices/virtio/queue.h"
#include "vmm/base/clock.h"
#include "vmm/free_page_hints.h"

namespace godwit::devices::virtio {

class FreePageHinting final : public vmm::FreePageHints {
 public:
  static constexpr uint32_t kStop = 0;
  static constexpr uint32_t kDone = 1;
  static constexpr uint32_t kFirstId = 2;
  // What one request may hint; what is beyond it travels. Linux hints 4 MiB at a time.
  static constexpr uint64_t kMostHinted = 128u << 20;

  // `tell_driver`: free_page_hint_cmd_id reads differently now. Called on any thread.
  explicit FreePageHinting(std::function<void()> tell_driver)
      : tell_driver_(std::move(tell_driver)) {}

  bool begin(vmm::FreePageSink& sink) override;
  void end() noexcept override;

  // free_page_hint_cmd_id. Any thread.
  [[nodiscard]] uint32_t command() const { return command_.load(); }
  // Whether there is a driver that hints. Any thread.
  void allow(bool yes) { allowed_.store(yes); }

  // The device's thread.
  // A request of the driver; how many pages it was about.
  uint64_t take(const Chain& chain, const vmm::GuestMemory& memory);
  // The driver starts anew: what it said before is void.
  void forget_driver();

  // The latest number that was given out, 0 for none: it goes with the guest, whose driver does not
  // answer a number twice. A session does not: where the guest arrives it reads DONE.
  [[nodiscard]] uint32_t latest() const { return latest_.load(); }
  void set_latest(uint32_t id);

 private:
  void hear_locked(uint32_t id);
  void finish_locked();

  std::function<void()> tell_driver_;
  std::atomic<bool> allowed_{false};
  std::atomic<uint32_t> command_{kStop};
  std::atomic<uint32_t> latest_{0};
  std::mutex mutex_;
  vmm::FreePageSink* sink_ = nullptr;  // guarded by mutex_: of the session that is under way
  uint32_t heard_ = kStop;             // guarded by mutex_: the driver's; guest-controlled
  TimePoint begun_;                    // guarded by mutex_, for the log
  uint64_t hinted_pages_ = 0;          // guarded by mutex_, for the log
};

}  // namespace godwit::devices::virtio
