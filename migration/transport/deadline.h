// A point in time after which a wait gives up.
#pragma once
#include <algorithm>

#include "vmm/base/clock.h"

namespace godwit::migration {

// `limit` from now. Huge limits mean "never" instead of overflowing; negative ones mean "now".
inline TimePoint deadline_after(Nanoseconds limit) {
  const auto start = now();
  if (limit >= TimePoint::max() - start) return TimePoint::max();
  return start + std::max(limit, Nanoseconds::zero());
}

// What is left until `deadline`, never negative.
inline Nanoseconds time_left(TimePoint deadline) {
  const auto start = now();
  return deadline <= start ? Nanoseconds::zero() : Nanoseconds(deadline - start);
}

}  // namespace godwit::migration
