// A set of guest pages, one bit each.
#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/base/types.h"

namespace godwit::vmm {

// Not synchronised. 64 pages (256 KiB of guest RAM) share a word; word w holds pages [64w, 64w+64).
class DirtyBitmap {
 public:
  DirtyBitmap() = default;
  explicit DirtyBitmap(uint64_t pages) : pages_(pages), words_((pages + 63) / 64) {}

  [[nodiscard]] uint64_t pages() const { return pages_; }
  [[nodiscard]] std::span<uint64_t> words() { return words_; }
  [[nodiscard]] std::span<const uint64_t> words() const { return words_; }

  void set(PageIndex page) { words_[page.value / 64] |= uint64_t{1} << (page.value % 64); }
  void clear(PageIndex page) { words_[page.value / 64] &= ~(uint64_t{1} << (page.value % 64)); }
  [[nodiscard]] bool test(PageIndex page) const {
    return (words_[page.value / 64] >> (page.value % 64) & 1) != 0;
  }
  // Sets [first, first + count).
  void set_range(PageIndex first, uint64_t count);
  void set_all() { set_range(PageIndex{0}, pages_); }
  void clear_all();
  [[nodiscard]] uint64_t count() const;
  [[nodiscard]] bool empty() const;
  // ORs `other`, which has the same number of pages, into this one.
  void merge(const DirtyBitmap& other);
  // Calls f(PageIndex) for each page of the set, in order.
  template <class F>
  void for_each(F&& f) const {
    for (uint64_t w = 0; w < words_.size(); ++w) {
      for (uint64_t bits = words_[w]; bits != 0; bits &= bits - 1) {
        f(PageIndex{w * 64 + static_cast<uint64_t>(std::countr_zero(bits))});
      }
    }
  }

 private:
  uint64_t pages_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace godwit::vmm
