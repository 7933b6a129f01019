#include "migration/transport/rate_limiter.h"

#include <algorithm>

namespace godwit::migration {
namespace {
// Longer debts are waited for in parts: the clock must not overflow.
constexpr double kLongestWaitSeconds = 3600;
}  // namespace

RateLimiter::TimeSource RateLimiter::real_time() {
  return {.now = [] { return now(); },
          .wait_until =
              [](std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                 TimePoint until, const std::function<bool()>& interrupted) {
                changed.wait_until(lock, until, interrupted);
              }};
}

RateLimiter::RateLimiter(uint64_t bytes_per_second, TimeSource time)
    : time_(std::move(time)), rate_(bytes_per_second), refilled_(time_.now()) {
  tokens_ = burst_locked();
}

double RateLimiter::burst_locked() const {
  const double burst = static_cast<double>(rate()) * to_seconds(kBurst);
  return std::max(burst, static_cast<double>(kMinBurstBytes));
}

void RateLimiter::refill_locked() {
  const TimePoint time = time_.now();
  const double gained = static_cast<double>(rate()) * to_seconds(time - refilled_);
  tokens_ = std::min(tokens_ + gained, burst_locked());
  refilled_ = time;
}

Result<> RateLimiter::acquire(uint64_t bytes) {
  const auto cancelled = [] {
    return make_error(Errc::kCancelled, "the rate limiter was shut down");
  };
  if (shut_down_.load(std::memory_order_relaxed)) return cancelled();
  if (rate() == 0) return {};
  std::unique_lock lock(mutex_);
  refill_locked();
  tokens_ -= static_cast<double>(bytes);
  // My bytes may go once all debt up to and including mine is paid; later callers' debt is theirs.
  acquired_ += static_cast<double>(bytes);
  const double my_claim = acquired_;
  while (!shut_down_ && rate() != 0) {
    const double debt = -tokens_ - (acquired_ - my_claim);
    if (debt <= 0) return {};
    const double seconds = std::min(debt / static_cast<double>(rate()), kLongestWaitSeconds);
    const auto until = refilled_ + from_seconds(seconds) + Nanoseconds(1);
    const uint64_t generation = generation_;
    time_.wait_until(lock, changed_, until,
                     [&] { return shut_down_ || generation_ != generation; });
    refill_locked();
  }
  if (shut_down_) return cancelled();
  return {};
}

void RateLimiter::set_rate(uint64_t bytes_per_second) {
  {
    const std::lock_guard lock(mutex_);
    refill_locked();
    rate_ = bytes_per_second;
    tokens_ = std::min(tokens_, burst_locked());
    ++generation_;
  }
  changed_.notify_all();
}

void RateLimiter::shutdown() noexcept {
  {
    const std::lock_guard lock(mutex_);
    shut_down_ = true;
  }
  changed_.notify_all();
}

}  // namespace godwit::migration
