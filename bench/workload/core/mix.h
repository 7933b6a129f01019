// Deterministic pseudo-random numbers. Freestanding.
#pragma once
#include <stdint.h>

namespace godwit::workload {

// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
// generators", 2014): a bijection, every input bit reaches every output bit.
inline uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Word `i` of the stream that `key` names: half a mix64, enough that no compressor finds anything.
inline uint64_t mix_word(uint64_t key, uint64_t i) {
  uint64_t x = key + (i + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 32)) * 0xbf58476d1ce4e5b9;
  return x ^ (x >> 29);
}

// SplitMix64.
class Random {
 public:
  constexpr explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() { return mix64(state_ += 0x9e3779b97f4a7c15); }
  // In [0, bound), bound > 0 (multiply-shift; its bias is below bound / 2^64).
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

 private:
  uint64_t state_;
};

}  // namespace godwit::workload
