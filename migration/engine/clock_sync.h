// Round trip and clock offset to the target, from pings over the control connection.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "vmm/base/clock.h"

namespace godwit::migration {

// The target's clock is read between the sending of a ping and the arrival of its pong, so
//   offset = target reading - midpoint, off by at most half the round trip.
// The sample with the shortest trip is kept for the offset (RFC 5905's clock filter, without its
// history: both clocks are CLOCK_MONOTONIC and drift by less than a microsecond in ten
// milliseconds; samples older than kSampleLife give way).
class ClockSync {
 public:
  static constexpr Nanoseconds kSampleLife = std::chrono::seconds(2);
  static constexpr size_t kTrips = 9;

  // Returns the sequence number to send.
  uint32_t ping_sent(TimePoint at);
  // A pong that answers no outstanding ping is ignored.
  void pong_received(uint32_t sequence, int64_t target_ns, TimePoint at);

  [[nodiscard]] bool waiting() const { return outstanding_.has_value(); }
  [[nodiscard]] bool measured() const { return measured_; }
  // The median of the last kTrips, for the budget: a ping that met a busy host does not count.
  [[nodiscard]] Nanoseconds round_trip() const;
  [[nodiscard]] Nanoseconds offset() const { return offset_; }
  [[nodiscard]] Nanoseconds error() const { return best_trip_ / 2; }
  // How soon the pong should be looked for again by one who does other work meanwhile: a pong is
  // taken to have arrived when it is found, so this is what that work adds to the round trip at
  // most. An eighth of the shortest trip, at least kShortestLook, at most `otherwise`; which it is
  // too while no pong is due.
  static constexpr Nanoseconds kShortestLook = std::chrono::microseconds(200);
  [[nodiscard]] Nanoseconds look_again_after(Nanoseconds otherwise) const;
  // A reading of the target's clock on ours.
  [[nodiscard]] TimePoint to_local(int64_t target_ns) const;

 private:
  struct Outstanding {
    uint32_t sequence;
    TimePoint at;
  };
  uint32_t next_sequence_ = 1;
  std::optional<Outstanding> outstanding_;
  bool measured_ = false;
  std::array<Nanoseconds, kTrips> trips_{};  // a ring
  size_t trips_seen_ = 0;
  Nanoseconds best_trip_{};
  TimePoint best_at_{};
  Nanoseconds offset_{};
};

int64_t to_wire(TimePoint at);

}  // namespace godwit::migration
