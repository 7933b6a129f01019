// Which page comes next. Freestanding.
#pragma once
#include <stdint.h>

#include "bench/workload/core/mix.h"
#include "bench/workload/core/params.h"

namespace godwit::workload {

class PagePicker {
 public:
  constexpr PagePicker() = default;
  PagePicker(Pattern pattern, uint64_t pages, uint64_t seed)
      : pattern_(pattern), pages_(pages), random_(seed), log2_fp_(log2_fp(pages)) {}

  // In [0, pages). Zipf with exponent 1: the density of rank r is proportional to 1/r (ranks are
  // log-uniform), and ranks are scattered over the range so that hot pages are not neighbours.
  uint64_t next() {
    if (pattern_ == Pattern::kUniform) return random_.below(pages_);
    if (pattern_ == Pattern::kZipf) return scatter(rank());
    const uint64_t page = cursor_;
    cursor_ = cursor_ + 1 == pages_ ? 0 : cursor_ + 1;
    return page;
  }

 private:
  // log2 in 1/65536, from below (linear between powers of two, error up to 0.086).
  static uint64_t log2_fp(uint64_t n) {
    if (n < 2) return 0;
    const int whole = 63 - __builtin_clzll(n);
    const uint64_t fraction = whole <= 16 ? n << (16 - whole) : n >> (whole - 16);
    return (static_cast<uint64_t>(whole) << 16) + (fraction & 0xffff);
  }
  // 2^(u * log2 n) - 1 for u uniform in [0, 1).
  uint64_t rank() {
    const uint64_t exponent = ((random_.next() >> 32) * log2_fp_) >> 32;
    const uint64_t fraction = exponent & 0xffff;
    // 2^f - 1 as a quadratic, error below 0.3 %.
    const uint64_t mantissa = 65536 + ((fraction * (43024 + ((22512 * fraction) >> 16))) >> 16);
    const uint64_t value =
        static_cast<uint64_t>((static_cast<unsigned __int128>(mantissa) << (exponent >> 16)) >> 16);
    return value == 0 || value > pages_ ? 0 : value - 1;
  }
  // A bijection as long as pages_ < 2^32 (the factor is prime): 16 TiB.
  [[nodiscard]] uint64_t scatter(uint64_t rank) const { return rank * 2654435761U % pages_; }

  Pattern pattern_ = Pattern::kSequential;
  uint64_t pages_ = 1;
  Random random_{0};
  uint64_t log2_fp_ = 0;
  uint64_t cursor_ = 0;
};

}  // namespace godwit::workload
