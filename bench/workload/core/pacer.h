// When the next page is due. Freestanding; time is in TSC ticks.
#pragma once
#include <stdint.h>

namespace godwit::workload {

// Exact on average: the period keeps 16 fractional bits. After being held up it catches up at no
// more than twice the rate (counted in slots, usually of 1 ms), and forgets a backlog beyond 20
// slots, so a pause of the whole guest is no burst afterwards but shows as a dip in throughput.
class Pacer {
 public:
  Pacer() = default;
  // `per_second` > 0 writes per second; the first is due at `now`.
  Pacer(uint64_t per_second, uint64_t tsc_hz, uint64_t now, uint64_t slot_us = 1000)
      : period_fp_((tsc_hz << 16) / per_second),
        slot_ticks_(tsc_hz / 1'000'000 * slot_us),
        backlog_ticks_(20 * slot_ticks_),
        slot_quota_(2 * per_second * slot_us / 1'000'000 + 1),
        next_(now),
        slot_start_(now) {}

  // True: write one page now.
  bool take(uint64_t now) {
    if (static_cast<int64_t>(now - next_) < 0) return false;
    if (now - next_ > backlog_ticks_) next_ = now - backlog_ticks_;
    if (now - slot_start_ >= slot_ticks_) {
      slot_start_ = now;
      slot_used_ = 0;
    }
    if (slot_used_ >= slot_quota_) return false;
    ++slot_used_;
    const uint64_t step = period_fp_ + fraction_;
    next_ += step >> 16;
    fraction_ = step & 0xffff;
    return true;
  }

  // When to look again, if nothing is due now: not before this slot has ended.
  [[nodiscard]] uint64_t wake() const {
    const uint64_t slot_end = slot_start_ + slot_ticks_;
    return static_cast<int64_t>(next_ - slot_end) > 0 ? next_ : slot_end;
  }

  // Starts anew, without a backlog.
  void restart(uint64_t now) { next_ = slot_start_ = now; }

 private:
  uint64_t period_fp_ = 0;
  uint64_t slot_ticks_ = 0;
  uint64_t backlog_ticks_ = 0;
  uint64_t slot_quota_ = 0;
  uint64_t next_ = 0;
  uint64_t fraction_ = 0;
  uint64_t slot_start_ = 0;
  uint64_t slot_used_ = 0;
};

}  // namespace godwit::workload
