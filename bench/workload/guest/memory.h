// Who uses which memory: page tables above 4 GiB, the sequence table, working set, fill region.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "bench/workload/core/params.h"
#include "bench/workload/guest/boot_info.h"

namespace godwit::workload {

// Pages [0, pages) over at most kMaxRanges stretches of memory.
class Region {
 public:
  void add(uint64_t first_frame, uint64_t pages) {
    extents_[count_++] = {first_frame, pages};
    pages_ += pages;
  }
  [[nodiscard]] uint64_t pages() const { return pages_; }
  // `index` < pages().
  [[nodiscard]] uint64_t frame(uint64_t index) const {
    size_t i = 0;
    while (index >= extents_[i].pages) index -= extents_[i++].pages;
    return extents_[i].first_frame + index;
  }

 private:
  struct Extent {
    uint64_t first_frame;
    uint64_t pages;
  };
  Extent extents_[kMaxRanges] = {};
  size_t count_ = 0;
  uint64_t pages_ = 0;
};

inline uint64_t* frame_address(uint64_t frame) {
  return reinterpret_cast<uint64_t*>(frame << 12);
}

struct MemoryLayout {
  Region working_set;
  Region fill;
  uint32_t* sequences = nullptr;  // expected sequence of each page of the working set
  uint64_t trampoline = 0;        // gpa of a page below 640 KiB for the APs; 0: there is none
};

// Maps memory above 4 GiB and carves everything. nullptr, or why it cannot be done.
const char* lay_out_memory(const BootInfo& info, const Params& params, MemoryLayout& layout);

}  // namespace godwit::workload
