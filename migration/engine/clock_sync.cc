#include "migration/engine/clock_sync.h"

#include <algorithm>

namespace godwit::migration {

int64_t to_wire(TimePoint at) {
  return std::chrono::duration_cast<Nanoseconds>(at.time_since_epoch()).count();
}

uint32_t ClockSync::ping_sent(TimePoint at) {
  outstanding_ = Outstanding{next_sequence_++, at};
  return outstanding_->sequence;
}

void ClockSync::pong_received(uint32_t sequence, int64_t target_ns, TimePoint at) {
  if (!outstanding_ || outstanding_->sequence != sequence) return;
  const Nanoseconds trip = at - outstanding_->at;
  const int64_t middle = to_wire(outstanding_->at) + trip.count() / 2;
  outstanding_.reset();
  trips_[trips_seen_++ % kTrips] = trip;
  if (!measured_ || trip <= best_trip_ || at - best_at_ > kSampleLife) {
    best_trip_ = trip;
    best_at_ = at;
    // The peer's number may be anything: no overflow.
    offset_ = Nanoseconds(
        static_cast<int64_t>(static_cast<uint64_t>(target_ns) - static_cast<uint64_t>(middle)));
  }
  measured_ = true;
}

Nanoseconds ClockSync::round_trip() const {
  auto sorted = trips_;
  const size_t n = std::min(trips_seen_, kTrips);
  if (n == 0) return {};
  std::ranges::sort(sorted.begin(), sorted.begin() + n);
  return sorted[n / 2];
}

Nanoseconds ClockSync::look_again_after(Nanoseconds otherwise) const {
  if (!waiting() || !measured_) return otherwise;
  return std::min(otherwise, std::max(best_trip_ / 8, kShortestLook));
}

TimePoint ClockSync::to_local(int64_t target_ns) const {
  const auto local = static_cast<int64_t>(static_cast<uint64_t>(target_ns) -
                                          static_cast<uint64_t>(offset_.count()));
  return TimePoint(std::chrono::duration_cast<Clock::duration>(Nanoseconds(local)));
}

}  // namespace godwit::migration
