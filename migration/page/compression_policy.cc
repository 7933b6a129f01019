#include "migration/page/compression_policy.h"

#include <algorithm>

namespace godwit::migration {
namespace {

Codec other(Codec codec) {
  return codec == Codec::kRaw ? Codec::kLz4 : Codec::kRaw;
}
size_t slot(Codec codec) {
  return static_cast<size_t>(codec);
}

}  // namespace

Codec CompressionPolicy::next() const {
  switch (mode_) {
    case Compression::kNone:
      return Codec::kRaw;
    case Compression::kLz4:
      return Codec::kLz4;
    case Compression::kAuto:
      break;
  }
  return probing_ ? other(current_) : current_;
}

bool CompressionPolicy::lz4_cannot_win(const Batch& batch) const {
  if (batch.tried != Codec::kLz4) return false;
  if (batch.wire_bytes * 20 >= batch.raw_bytes * 19) return true;
  const double raw_score = score_[slot(Codec::kRaw)];
  const auto encode_ns = static_cast<double>(std::max<int64_t>(batch.encode.count(), 1));
  return raw_score > 0 && static_cast<double>(batch.raw_bytes) / encode_ns < raw_score;
}

void CompressionPolicy::record(const Batch& batch) {
  if (mode_ != Compression::kAuto || batch.raw_bytes == 0) return;
  ++window_batches_;
  window_bytes_ += batch.raw_bytes;
  window_time_ += batch.encode + batch.send;
  const bool hopeless = lz4_cannot_win(batch);
  if (window_batches_ >= kWindowBatches || hopeless) end_window(hopeless);
}

void CompressionPolicy::end_window(bool hopeless) {
  const Codec used = next();
  const auto ns = static_cast<double>(std::max<int64_t>(window_time_.count(), 1));
  score_[slot(used)] = static_cast<double>(window_bytes_) / ns;
  window_batches_ = 0;
  window_bytes_ = 0;
  window_time_ = {};
  if (probing_) {
    probing_ = false;
    // A change must be worth more than the noise, which on a busy host is large: one batch that
    // finds the socket empty looks fast whatever it carries.
    const bool better = !hopeless && score_[slot(used)] > 1.05 * score_[slot(current_)];
    if (better) current_ = used;
    backoff_ = better ? 1 : std::min(backoff_ * 2, kMaxWindowsBetweenProbes);
    windows_until_probe_ = backoff_;
  } else if (--windows_until_probe_ == 0) {
    probing_ = true;
    windows_until_probe_ = 1;
  }
}

}  // namespace godwit::migration
