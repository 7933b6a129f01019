// The pages that the guest says it does not use, and what became of them. Why they may be left out,
// and only of the first iteration: vmm/free_page_hints.h.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "vmm/free_page_hints.h"
#include "vmm/memory/dirty_bitmap.h"

namespace godwit::migration {

// Threads: add_free() from one, while senders read; each group has one sender. left_out() and
// note_sent() when no iteration is under way.
class FreePages final : public vmm::FreePageSink {
 public:
  // For memory of so many pages.
  explicit FreePages(uint64_t pages) : free_((pages + 63) / 64), left_out_(pages) {}

  void add_free(PageIndex first, uint64_t count) noexcept override;

  // Of `pages` in `group`, those that are to be sent; the others are left out.
  uint64_t leave_out(uint64_t group, uint64_t pages) {
    const uint64_t skipped = pages & free_[group].load(std::memory_order_relaxed);
    left_out_.words()[group] |= skipped;
    return pages & ~skipped;
  }

  // What was left out and not sent since: the target has zeroes there.
  [[nodiscard]] const vmm::DirtyBitmap& left_out() const { return left_out_; }
  void note_sent(const vmm::DirtyBitmap& pages);

 private:
  std::vector<std::atomic<uint64_t>> free_;
  vmm::DirtyBitmap left_out_;
};

}  // namespace godwit::migration
