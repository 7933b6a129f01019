#include "vmm/memory/dirty_bitmap.h"

#include <algorithm>

#include "vmm/base/check.h"

namespace godwit::vmm {

void DirtyBitmap::set_range(PageIndex first, uint64_t count) {
  GODWIT_CHECK(first.value <= pages_ && count <= pages_ - first.value, "range outside the bitmap");
  uint64_t page = first.value;
  const uint64_t end = page + count;
  while (page < end) {
    const uint64_t bit = page % 64;
    const uint64_t n = std::min<uint64_t>(64 - bit, end - page);
    const uint64_t mask = n == 64 ? ~uint64_t{0} : ((uint64_t{1} << n) - 1) << bit;
    words_[page / 64] |= mask;
    page += n;
  }
}

void DirtyBitmap::clear_all() {
  std::fill(words_.begin(), words_.end(), 0);
}

uint64_t DirtyBitmap::count() const {
  uint64_t n = 0;
  for (const uint64_t word : words_) n += static_cast<uint64_t>(std::popcount(word));
  return n;
}

bool DirtyBitmap::empty() const {
  return std::all_of(words_.begin(), words_.end(), [](uint64_t word) { return word == 0; });
}

void DirtyBitmap::merge(const DirtyBitmap& other) {
  GODWIT_CHECK(other.pages_ == pages_, "bitmaps of different guests");
  for (size_t w = 0; w < words_.size(); ++w) words_[w] |= other.words_[w];
}

}  // namespace godwit::vmm
