#include "devices/block/dirty_blocks.h"

#include <algorithm>

#include "vmm/base/check.h"

namespace godwit::devices {
namespace {

constexpr uint64_t kWordBits = 64;

}  // namespace

void DirtyBlocks::start() {
  const uint64_t words = (granules_ + kWordBits - 1) / kWordBits;
  if (!words_) words_.reset(new std::atomic<uint64_t>[words]());
  for (uint64_t w = 0; w < words; ++w) words_[w].store(0, std::memory_order_relaxed);
  // Sequentially consistent: no read of the disk that follows may be done before others see it.
  tracking_.store(true);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void DirtyBlocks::mark(uint64_t offset, uint64_t length) {
  const uint64_t first = offset / vmm::kStorageGranule;
  if (length == 0 || first >= granules_) return;
  const uint64_t last = std::min((offset + length - 1) / vmm::kStorageGranule, granules_ - 1);
  for (uint64_t word = first / kWordBits; word <= last / kWordBits; ++word) {
    const uint64_t low = word == first / kWordBits ? first % kWordBits : 0;
    const uint64_t high = word == last / kWordBits ? last % kWordBits : kWordBits - 1;
    const uint64_t bits = (~uint64_t{0} >> (kWordBits - 1 - high)) & (~uint64_t{0} << low);
    words_[word].fetch_or(bits);
  }
}

void DirtyBlocks::harvest(vmm::DirtyBitmap& into) {
  GODWIT_CHECK(into.pages() == granules_, "a set of the disk's own size");
  if (!words_) return;
  const auto words = into.words();
  for (size_t w = 0; w < words.size(); ++w) {
    if (words_[w].load() != 0) words[w] |= words_[w].exchange(0);
  }
}

}  // namespace godwit::devices
