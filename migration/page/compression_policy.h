// Whether the next batch of pages is worth compressing, decided by what batches really cost.
//
// The score of a codec is guest bytes moved per second of wall time, encoding and (blocking) send
// together, over a window of batches. One codec is in use; the other is probed now and then. A
// probe ends after one batch when LZ4 cannot win: its encoding alone takes longer than raw takes in
// all (a link faster than the codec), or it saves nothing (random content). So a fast link pays for
// about one batch in 256. Probes start close together, because the first windows only measure the
// socket buffer, and back off while the answer stays the same.
#pragma once
#include <cstdint>

#include "migration/page/frame.h"
#include "migration/parameters.h"
#include "vmm/base/clock.h"

namespace godwit::migration {

// One per worker. Not thread-safe. Deterministic in what record() is told.
class CompressionPolicy {
 public:
  explicit CompressionPolicy(Compression mode) : mode_(mode) {}

  [[nodiscard]] Codec next() const;

  struct Batch {
    Codec tried = Codec::kRaw;  // what next() said
    uint64_t raw_bytes = 0;     // before encoding
    uint64_t wire_bytes = 0;    // as sent
    Nanoseconds encode{};
    Nanoseconds send{};
  };
  void record(const Batch& batch);

 private:
  static constexpr uint32_t kWindowBatches = 8;
  static constexpr uint32_t kMaxWindowsBetweenProbes = 32;

  [[nodiscard]] bool lz4_cannot_win(const Batch& batch) const;
  void end_window(bool hopeless);

  Compression mode_;
  Codec current_ = Codec::kRaw;
  bool probing_ = false;
  // Guest bytes per nanosecond; 0: not measured yet.
  double score_[2] = {0, 0};
  uint32_t window_batches_ = 0;
  uint64_t window_bytes_ = 0;
  Nanoseconds window_time_{};
  uint32_t windows_until_probe_ = 1;
  uint32_t backoff_ = 1;
};

}  // namespace godwit::migration
