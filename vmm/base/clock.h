// Time. Durations are std::chrono; the only clock for measuring is CLOCK_MONOTONIC, whose epoch is
// the host's own: a reading of another host is meaningless without an offset (migration measures
// one, with its error).
#pragma once
#include <chrono>

namespace godwit {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC on Linux
using TimePoint = Clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

inline TimePoint now() {
  return Clock::now();
}
inline double to_ms(Nanoseconds d) {
  return static_cast<double>(d.count()) / 1e6;
}
inline double to_seconds(Nanoseconds d) {
  return static_cast<double>(d.count()) / 1e9;
}
inline Nanoseconds from_seconds(double s) {
  return Nanoseconds(static_cast<Nanoseconds::rep>(s * 1e9));
}

}  // namespace godwit
