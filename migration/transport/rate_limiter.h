// A limit on bytes per second that several threads share (a token bucket).
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"

namespace godwit::migration {

// All members may be called from any thread. Callers are served in the order in which they come to
// the bucket: each takes its bytes at once, into debt if need be, and waits until the debt that it
// found and made is paid. So a piece larger than the burst passes too, and no thread starves.
class RateLimiter {
 public:
  // What fills up while nobody sends: 10 ms of traffic, but no less than one large send.
  static constexpr Nanoseconds kBurst = std::chrono::milliseconds(10);
  static constexpr uint64_t kMinBurstBytes = 256 << 10;

  // How time is told and passed; tests bring their own. `wait_until` returns early when
  // `interrupted` turns true (it is called with the lock that guards what `interrupted` reads).
  struct TimeSource {
    std::function<TimePoint()> now;
    std::function<void(std::unique_lock<std::mutex>&, std::condition_variable&, TimePoint,
                       const std::function<bool()>& interrupted)>
        wait_until;
  };
  static TimeSource real_time();

  // 0: no limit; acquire() then costs two relaxed loads.
  explicit RateLimiter(uint64_t bytes_per_second, TimeSource time = real_time());

  // Waits until `bytes` may be sent. kCancelled after shutdown().
  Result<> acquire(uint64_t bytes);
  // Takes effect at once, for waiting threads too; 0 lifts the limit.
  void set_rate(uint64_t bytes_per_second);
  [[nodiscard]] uint64_t rate() const { return rate_.load(std::memory_order_relaxed); }
  // Wakes everyone; sticky.
  void shutdown() noexcept;

 private:
  void refill_locked();
  [[nodiscard]] double burst_locked() const;

  TimeSource time_;
  std::atomic<uint64_t> rate_;
  std::atomic<bool> shut_down_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  double tokens_ = 0;    // bytes that may pass now; negative: owed
  double acquired_ = 0;  // bytes ever taken: orders the waiting threads' claims
  TimePoint refilled_{};
  uint64_t generation_ = 0;  // of the rate
};

}  // namespace godwit::migration
