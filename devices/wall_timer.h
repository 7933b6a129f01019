// The host's wall clock and an alarm on it.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "vmm/base/fd.h"

namespace godwit::devices {

using Microseconds = std::chrono::microseconds;

// The seam between the RTC and time, so that tests turn the clock by hand. One alarm at a time.
// Threads: any; start() and stop() from the owner's only.
class WallTimer {
 public:
  virtual ~WallTimer() = default;
  // Since 1970 in UTC.
  [[nodiscard]] virtual Microseconds now() const = 0;
  // Rings once when the wall clock reaches `at`, soon if that has passed; replaces an earlier one.
  virtual void arm(Microseconds at) = 0;
  // `on_alarm` is called on a thread of the timer's own until stop() returns. It may arm().
  virtual void start(std::function<void()> on_alarm) = 0;
  // The caller must hold no lock that on_alarm takes. Idempotent.
  virtual void stop() noexcept = 0;
};

// CLOCK_REALTIME and a timerfd: a host clock that is set moves the alarm with it.
class HostWallTimer final : public WallTimer {
 public:
  // Throws std::system_error when the host gives no timerfd.
  HostWallTimer();
  ~HostWallTimer() override;
  [[nodiscard]] Microseconds now() const override;
  void arm(Microseconds at) override;
  void start(std::function<void()> on_alarm) override;
  void stop() noexcept override;

 private:
  void run();
  UniqueFd timer_;
  UniqueFd stop_;
  std::function<void()> on_alarm_;
  std::jthread thread_;
};

}  // namespace godwit::devices
