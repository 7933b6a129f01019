// Keeps what a stranger can cause from filling the log.
#pragma once
#include <cstdint>
#include <optional>

#include "vmm/base/clock.h"

namespace godwit::migration {

// At most `burst` lines in each `period`. One thread at a time.
class LogLimiter {
 public:
  LogLimiter(uint32_t burst, Nanoseconds period) : burst_(burst), period_(period) {}

  // Whether a line may be written at `time`: then, how many were held back since the last one.
  std::optional<uint64_t> admit(TimePoint time) {
    if (time - period_start_ >= period_) {
      period_start_ = time;
      written_ = 0;
    }
    if (written_ >= burst_) {
      ++held_back_;
      return {};
    }
    ++written_;
    const uint64_t held_back = held_back_;
    held_back_ = 0;
    return held_back;
  }

 private:
  uint32_t burst_;
  Nanoseconds period_;
  TimePoint period_start_{};
  uint32_t written_ = 0;
  uint64_t held_back_ = 0;
};

}  // namespace godwit::migration
