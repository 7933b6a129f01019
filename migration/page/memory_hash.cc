#include "migration/page/memory_hash.h"

#include "migration/page/zero.h"
#include "migration/wire/xxh3.h"

namespace godwit::migration {

uint64_t memory_hash(const vmm::GuestMemory& memory) {
  uint64_t sum = 0;
  for (const vmm::PageRange& range : memory.touched()) {
    for (uint64_t i = 0; i < range.count; ++i) {
      const PageIndex index{range.first.value + i};
      const std::byte* page = memory.page(index);
      if (!is_zero_page(page)) sum += XXH3_64bits_withSeed(page, kPageSize, index.value);
    }
  }
  return sum;
}

}  // namespace godwit::migration
