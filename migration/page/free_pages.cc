#include "migration/page/free_pages.h"

#include <algorithm>

#include "vmm/base/check.h"

namespace godwit::migration {

void FreePages::add_free(PageIndex first, uint64_t count) noexcept {
  GODWIT_CHECK(first.value <= left_out_.pages() && count <= left_out_.pages() - first.value,
               "a hint outside guest memory");
  const uint64_t end = first.value + count;
  for (uint64_t page = first.value; page < end;) {
    const uint64_t bit = page % 64;
    const uint64_t n = std::min<uint64_t>(64 - bit, end - page);
    const uint64_t mask = n == 64 ? ~uint64_t{0} : ((uint64_t{1} << n) - 1) << bit;
    free_[page / 64].fetch_or(mask, std::memory_order_relaxed);
    page += n;
  }
}

void FreePages::note_sent(const vmm::DirtyBitmap& pages) {
  GODWIT_CHECK(pages.pages() == left_out_.pages(), "bitmap of another guest");
  const auto sent = pages.words();
  const auto left_out = left_out_.words();
  for (size_t w = 0; w < sent.size(); ++w) left_out[w] &= ~sent[w];
}

}  // namespace godwit::migration
