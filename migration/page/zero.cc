#include "migration/page/zero.h"

#include <cstdint>
#include <cstring>

#include "vmm/base/types.h"

namespace godwit::migration {
namespace {

// Vectors of the compiler's own: one source for every architecture, widened per CPU by the clones.
using Block [[gnu::vector_size(64)]] = uint64_t;

[[gnu::always_inline]] inline bool block_is_zero(const Block& v) {
  return (v[0] | v[1] | v[2] | v[3] | v[4] | v[5] | v[6] | v[7]) == 0;
}

#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define GODWIT_CLONES [[gnu::target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")]]
#else
#define GODWIT_CLONES
#endif

GODWIT_CLONES bool all_zero(const std::byte* page) {
  const auto* blocks = reinterpret_cast<const Block*>(page);
  constexpr size_t kBlocks = kPageSize / sizeof(Block);
  constexpr size_t kStep = 4;
  for (size_t i = 0; i < kBlocks; i += kStep) {
    if (!block_is_zero(blocks[i] | blocks[i + 1] | blocks[i + 2] | blocks[i + 3])) return false;
  }
  return true;
}

}  // namespace

bool is_zero_page(const std::byte* page) {
  // Most pages that are not zero show it in their first or last word.
  uint64_t first;
  uint64_t last;
  std::memcpy(&first, page, sizeof first);
  std::memcpy(&last, page + kPageSize - sizeof last, sizeof last);
  return (first | last) == 0 && all_zero(page);
}

}  // namespace godwit::migration
