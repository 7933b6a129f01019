// The largest gap between two TSC reads of one vCPU.
#pragma once
#include <stdint.h>

#include "bench/workload/guest/hardware.h"

namespace godwit::workload {

// One vCPU writes, the boot vCPU reads and clears: a maximum that loses nothing to a reset.
class Maximum {
 public:
  void raise(uint64_t value) {
    uint64_t seen = __atomic_load_n(&value_, __ATOMIC_RELAXED);
    while (value > seen && !__atomic_compare_exchange_n(&value_, &seen, value, true,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
  }
  [[nodiscard]] uint64_t get() const { return __atomic_load_n(&value_, __ATOMIC_RELAXED); }
  uint64_t clear() { return __atomic_exchange_n(&value_, 0, __ATOMIC_RELAXED); }

 private:
  uint64_t value_ = 0;
};

struct GapTracker {
  Maximum interval;        // since the last report
  Maximum largest;         // since the start or the last 'g'
  Maximum io;              // around the guest's own serial accesses, since the last report
  uint64_t backwards = 0;  // times that the TSC went back

  void start() { last_ = rdtsc(); }
  // Reads the TSC; what has passed since the last read is a gap.
  uint64_t sample() {
    const uint64_t now = rdtsc();
    record(now);
    return now;
  }
  // The same after a serial access of the guest's own.
  uint64_t sample_after_io() {
    const uint64_t now = rdtsc();
    const uint64_t gap = now - last_;
    if (static_cast<int64_t>(gap) < 0) {
      note_backwards();
    } else if (gap > io.get()) {
      io.raise(gap);
    }
    last_ = now;
    return now;
  }
  // The same after a halt that was meant to last until `deadline`: the time beyond it is the gap.
  uint64_t sample_after_halt(uint64_t deadline) {
    const uint64_t now = rdtsc();
    if (static_cast<int64_t>(now - last_) >= 0) {
      last_ = static_cast<int64_t>(now - deadline) > 0 ? deadline : now;
    }
    record(now);
    return now;
  }

 private:
  void record(uint64_t now) {
    const uint64_t gap = now - last_;
    last_ = now;
    if (static_cast<int64_t>(gap) < 0) return note_backwards();
    if (gap <= interval.get()) return;
    interval.raise(gap);
    if (gap > largest.get()) largest.raise(gap);
  }
  void note_backwards() { __atomic_store_n(&backwards, backwards + 1, __ATOMIC_RELAXED); }

  uint64_t last_ = 0;
};

}  // namespace godwit::workload
