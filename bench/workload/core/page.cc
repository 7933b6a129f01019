#include "bench/workload/core/page.h"

#include "bench/workload/core/mix.h"

namespace godwit::workload {
namespace {

uint64_t page_key(const ContentSpec& spec, PageId id) {
  return mix64(mix64(spec.seed + 0x632be59bd9b4e019) ^ mix64(id.frame) ^
               (uint64_t{id.sequence} << 32 | id.sequence));
}

// Word `i` of the body, for a kind known at compile time so that loops over it stay tight.
template <PageKind kind>
uint64_t body_word(uint64_t key, size_t i) {
  if constexpr (kind == PageKind::kRandom) {
    return mix_word(key, i);
  } else if constexpr (kind == PageKind::kCompress) {
    switch (i & 3) {
      case 0:
        return mix_word(key, i);
      case 1:
        return mix_word(key, i) & 0x0f0f0f0f0f0f0f0f;
      default:
        return 0x203a7469'77646f67;  // "godwit: "
    }
  } else {
    return 0;
  }
}

PageHeader make_header(uint64_t key, PageId id) {
  return {kPageMagic, id.frame, id.sequence, key};
}

uint64_t header_word(const PageHeader& header, size_t i) {
  switch (i) {
    case 0:
      return header.magic;
    case 1:
      return header.frame;
    case 2:
      return header.sequence;
    default:
      return header.key;
  }
}

template <PageKind kind>
void write_kind(uint64_t* page, uint64_t key, PageId id) {
  size_t i = 0;
  if constexpr (kind != PageKind::kZero) {
    const PageHeader header = make_header(key, id);
    for (; i < kHeaderWords; ++i) page[i] = header_word(header, i);
  }
  for (; i < kPageWords; ++i) page[i] = body_word<kind>(key, i);
}

template <PageKind kind>
uint64_t expected_word(uint64_t key, PageId id, size_t i) {
  if constexpr (kind == PageKind::kZero) return 0;
  if (i < kHeaderWords) return header_word(make_header(key, id), i);
  return body_word<kind>(key, i);
}

template <PageKind kind>
bool matches_kind(const uint64_t* page, uint64_t key, PageId id) {
  uint64_t difference = 0;
  for (size_t i = 0; i < kHeaderWords; ++i) {
    difference |= page[i] ^ expected_word<kind>(key, id, i);
  }
  for (size_t i = kHeaderWords; i < kPageWords; ++i) {
    difference |= page[i] ^ body_word<kind>(key, i);
  }
  return difference == 0;
}

uint64_t expected_word(PageKind kind, uint64_t key, PageId id, size_t i) {
  switch (kind) {
    case PageKind::kZero:
      return expected_word<PageKind::kZero>(key, id, i);
    case PageKind::kSparse:
      return expected_word<PageKind::kSparse>(key, id, i);
    case PageKind::kCompress:
      return expected_word<PageKind::kCompress>(key, id, i);
    case PageKind::kRandom:
      return expected_word<PageKind::kRandom>(key, id, i);
  }
  return 0;
}

PageFault classify(const uint64_t* page, const ContentSpec& spec, PageId id) {
  uint64_t any = 0;
  for (size_t i = 0; i < kPageWords; ++i) any |= page[i];
  if (any == 0) return PageFault::kLost;
  if (page[0] != kPageMagic || page[2] > UINT32_MAX) return PageFault::kCorrupt;
  const PageId found{page[1], static_cast<uint32_t>(page[2])};
  if (!page_matches(page, spec, found)) return PageFault::kCorrupt;
  return found.frame == id.frame ? PageFault::kStale : PageFault::kMisplaced;
}

}  // namespace

PageKind page_kind(const ContentSpec& spec, PageId id) {
  switch (spec.content) {
    case Content::kZero:
      return id.sequence % 2 == 0 ? PageKind::kZero : PageKind::kSparse;
    case Content::kCompress:
      return PageKind::kCompress;
    case Content::kRandom:
      return PageKind::kRandom;
    case Content::kMixed:
      break;
  }
  switch (page_key(spec, id) >> 62) {
    case 0:
      return PageKind::kZero;
    case 1:
      return PageKind::kRandom;
    default:
      return PageKind::kCompress;
  }
}

void write_page(uint64_t* page, const ContentSpec& spec, PageId id) {
  const uint64_t key = page_key(spec, id);
  switch (page_kind(spec, id)) {
    case PageKind::kZero:
      return write_kind<PageKind::kZero>(page, key, id);
    case PageKind::kSparse:
      return write_kind<PageKind::kSparse>(page, key, id);
    case PageKind::kCompress:
      return write_kind<PageKind::kCompress>(page, key, id);
    case PageKind::kRandom:
      return write_kind<PageKind::kRandom>(page, key, id);
  }
}

bool page_matches(const uint64_t* page, const ContentSpec& spec, PageId id) {
  const uint64_t key = page_key(spec, id);
  switch (page_kind(spec, id)) {
    case PageKind::kZero:
      return matches_kind<PageKind::kZero>(page, key, id);
    case PageKind::kSparse:
      return matches_kind<PageKind::kSparse>(page, key, id);
    case PageKind::kCompress:
      return matches_kind<PageKind::kCompress>(page, key, id);
    case PageKind::kRandom:
      return matches_kind<PageKind::kRandom>(page, key, id);
  }
  return false;
}

PageVerdict examine_page(const uint64_t* page, const ContentSpec& spec, PageId id) {
  const uint64_t key = page_key(spec, id);
  const PageKind kind = page_kind(spec, id);
  PageVerdict verdict;
  for (size_t i = 0; i < kPageWords; ++i) {
    const uint64_t expected = expected_word(kind, key, id, i);
    if (page[i] == expected) continue;
    verdict.offset = i * sizeof(uint64_t);
    verdict.found_word = page[i];
    verdict.expected_word = expected;
    verdict.fault = classify(page, spec, id);
    break;
  }
  if (verdict.fault != PageFault::kNone && page[0] == kPageMagic) {
    verdict.found_frame = page[1];
    verdict.found_sequence = page[2];
  }
  return verdict;
}

const char* page_fault_name(PageFault fault) {
  switch (fault) {
    case PageFault::kNone:
      return "none";
    case PageFault::kLost:
      return "lost";
    case PageFault::kStale:
      return "stale";
    case PageFault::kMisplaced:
      return "misplaced";
    case PageFault::kCorrupt:
      return "corrupt";
  }
  return "?";
}

}  // namespace godwit::workload
