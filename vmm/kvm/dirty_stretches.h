// Splits a dirty bitmap into the stretches that are worth one KVM_CLEAR_DIRTY_LOG each.
#pragma once
#include <bit>
#include <cstdint>
#include <span>

namespace godwit::vmm {

// One CLEAR holds KVM's MMU lock, which a vCPU that takes a dirty fault waits for: so at most this
// many pages are re-armed at once (about 33 ns each: 0.5 ms).
inline constexpr uint64_t kClearMaxDirtyPages = 16384;
// Each CLEAR also flushes the TLBs of all vCPUs, so near stretches share one; reading the empty
// words between them costs less than that.
inline constexpr uint64_t kClearMaxGapWords = 1024;

// Calls f(first_word, words) for stretches, in order, that together hold every set bit of `bitmap`;
// each begins and ends with a word that is not zero.
template <class F>
void for_each_dirty_stretch(std::span<const uint64_t> bitmap, F&& f) {
  uint64_t w = 0;
  const uint64_t end = bitmap.size();
  while (w < end) {
    if (bitmap[w] == 0) {
      ++w;
      continue;
    }
    const uint64_t first = w;
    uint64_t last = w;
    uint64_t dirty = 0;
    for (; w < end && w - last <= kClearMaxGapWords && dirty < kClearMaxDirtyPages; ++w) {
      if (bitmap[w] == 0) continue;
      last = w;
      dirty += static_cast<uint64_t>(std::popcount(bitmap[w]));
    }
    f(first, last + 1 - first);
    w = last + 1;
  }
}

}  // namespace godwit::vmm
