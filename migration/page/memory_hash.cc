#include "migration/page/memory_hash.h"

#include <algorithm>

#include "migration/page/zero.h"
#include "migration/wire/xxh3.h"

namespace godwit::migration {

namespace {

constexpr uint64_t kSamplePages = 4096;

uint64_t hash_of(const vmm::GuestMemory& memory, PageIndex first, uint64_t count,
                 const vmm::DirtyBitmap* as_zero) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const PageIndex index{first.value + i};
    if (as_zero != nullptr && as_zero->test(index)) continue;
    const std::byte* page = memory.page(index);
    if (!is_zero_page(page)) sum += XXH3_64bits_withSeed(page, kPageSize, index.value);
  }
  return sum;
}

}  // namespace

uint64_t memory_hash(const vmm::GuestMemory& memory, const vmm::DirtyBitmap* as_zero) {
  uint64_t sum = 0;
  for (const vmm::PageRange& range : memory.touched()) {
    sum += hash_of(memory, range.first, range.count, as_zero);
  }
  return sum;
}

Nanoseconds estimate_memory_hash(const vmm::GuestMemory& memory) {
  uint64_t touched = 0;
  uint64_t sampled = 0;
  volatile uint64_t sink = 0;
  const TimePoint start = now();
  for (const vmm::PageRange& range : memory.touched()) {
    const uint64_t count = std::min(range.count, kSamplePages - sampled);
    sink = sink + hash_of(memory, range.first, count, nullptr);
    touched += range.count;
    sampled += count;
  }
  if (sampled == 0) return Nanoseconds(0);
  return from_seconds(to_seconds(now() - start) * static_cast<double>(touched) /
                      static_cast<double>(sampled));
}

}  // namespace godwit::migration
