// What the workload guest writes into a page, and how it knows it again. Every word of a page
// follows from its frame number (gpa >> 12), the sequence number of the write, the seed and the
// content option, so a check compares the whole page and needs no stored copy. Freestanding.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "bench/workload/core/params.h"

namespace godwit::workload {

inline constexpr size_t kPageWords = 512;
inline constexpr uint64_t kPageMagic = 0x65676150'74776447;  // "GdwtPage" in memory

// What the fill region carries; pages of the working set count from 1.
inline constexpr uint32_t kFillSequence = 0;

// The first words of every page that is not all zeros.
struct PageHeader {
  uint64_t magic;
  uint64_t frame;
  uint64_t sequence;
  uint64_t key;  // mix of all four inputs
};
inline constexpr size_t kHeaderWords = sizeof(PageHeader) / sizeof(uint64_t);

enum class PageKind : uint8_t {
  kZero,      // all zeros, header included
  kSparse,    // header, then zeros
  kCompress,  // header, then words of which two of four repeat: LZ4 makes about half of it
  kRandom,    // header, then incompressible words
};

struct PageId {
  uint64_t frame;
  uint32_t sequence;
};

struct ContentSpec {
  Content content;
  uint64_t seed;
};

// zero: even sequences clear the page, odd ones leave a header (so that pages become zero and stop
// being zero while they migrate). mixed: by a hash of the page and sequence, a quarter zero, a half
// compressible, a quarter random.
PageKind page_kind(const ContentSpec& spec, PageId id);

void write_page(uint64_t* page, const ContentSpec& spec, PageId id);

enum class PageFault : uint8_t {
  kNone,
  kLost,       // all zeros where content was due
  kStale,      // this page's content of another sequence
  kMisplaced,  // another page's content
  kCorrupt,    // anything else
};
const char* page_fault_name(PageFault fault);

struct PageVerdict {
  PageFault fault = PageFault::kNone;
  size_t offset = 0;  // of the first wrong byte's word
  uint64_t found_word = 0;
  uint64_t expected_word = 0;
  uint64_t found_frame = 0;     // as the page's header says, if it has one
  uint64_t found_sequence = 0;  // the same
};

// True if the page is exactly what write_page() made: the fast path.
bool page_matches(const uint64_t* page, const ContentSpec& spec, PageId id);

// Explains a page that does not match. A page that does gives kNone (it may have been mended
// meanwhile).
PageVerdict examine_page(const uint64_t* page, const ContentSpec& spec, PageId id);

}  // namespace godwit::workload
