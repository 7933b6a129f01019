#include "bench/workload/guest/memory.h"

#include <initializer_list>

#include "bench/workload/guest/hardware.h"

namespace godwit::workload {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kMaxMapped = 512 * kGiB;  // one PDPT
constexpr uint64_t kAutoWorkingSetPages = (uint64_t{256} << 20) >> 12;
constexpr uint64_t kLowMemoryEnd = 0xa0000;
constexpr uint64_t kPreferredTrampoline = 0x30000;  // above what VMMs keep in low memory

// The RAM above the image that is still free, in frames.
struct FreeMemory {
  MemoryRange range[kMaxRanges] = {};
  size_t count = 0;

  explicit FreeMemory(const BootInfo& info) {
    const auto image_end = reinterpret_cast<uint64_t>(guest_image_end);
    for (size_t i = 0; i < info.ram_ranges; ++i) {
      MemoryRange r = info.ram[i];
      if (r.start < image_end) r.start = image_end;
      if (r.end > kMaxMapped) r.end = kMaxMapped;
      if (r.start < r.end) range[count++] = {r.start >> 12, r.end >> 12};
    }
  }
  [[nodiscard]] uint64_t pages() const {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; ++i) sum += range[i].end - range[i].start;
    return sum;
  }
  // `pages` in one piece, all of it below frame `limit`; 0 if there is no such piece.
  uint64_t take(uint64_t pages, uint64_t limit) {
    for (size_t i = 0; i < count; ++i) {
      if (range[i].end - range[i].start < pages || range[i].start + pages > limit) continue;
      range[i].start += pages;
      return range[i].start - pages;
    }
    return 0;
  }
  // `pages` in as many pieces as it takes; there must be that many.
  void take(uint64_t pages, Region& region) {
    for (size_t i = 0; i < count && pages > 0; ++i) {
      const uint64_t available = range[i].end - range[i].start;
      const uint64_t taken = available < pages ? available : pages;
      if (taken == 0) continue;
      region.add(range[i].start, taken);
      range[i].start += taken;
      pages -= taken;
    }
  }
};

// Page directories for what lies above 4 GiB. They are written before they are linked in, from
// ring 3, and nothing was ever mapped there: no TLB to flush.
bool map_high_memory(const BootInfo& info, FreeMemory& free) {
  uint64_t end = 0;
  for (size_t i = 0; i < info.ram_ranges; ++i) {
    if (info.ram[i].end > end) end = info.ram[i].end;
  }
  if (end > kMaxMapped) end = kMaxMapped;
  for (uint64_t gib = 4; gib * kGiB < end; ++gib) {
    const uint64_t frame = free.take(1, 4 * kGiB >> 12);
    if (frame == 0) return false;
    uint64_t* directory = frame_address(frame);
    for (uint64_t i = 0; i < 512; ++i) directory[i] = gib * kGiB + (i << 21) + 0xe7;
    __atomic_store_n(&guest_pdpt[gib], (frame << 12) + 0x27, __ATOMIC_RELEASE);
  }
  return true;
}

uint64_t find_trampoline(const BootInfo& info) {
  for (const uint64_t lowest : {kPreferredTrampoline, uint64_t{0x1000}}) {
    for (size_t i = 0; i < info.ram_ranges; ++i) {
      const uint64_t start = info.ram[i].start < lowest ? lowest : info.ram[i].start;
      if (start + 4096 <= info.ram[i].end && start + 4096 <= kLowMemoryEnd) return start;
    }
  }
  return 0;
}

}  // namespace

const char* lay_out_memory(const BootInfo& info, const Params& params, MemoryLayout& layout) {
  FreeMemory free(info);
  layout.trampoline = find_trampoline(info);
  if (!map_high_memory(info, free)) return "no memory for page tables";
  uint64_t ws_pages = params.ws_bytes >> 12;
  if (params.ws_bytes == kWorkingSetAuto) {
    ws_pages = free.pages() / 2;
    if (ws_pages > kAutoWorkingSetPages) ws_pages = kAutoWorkingSetPages;
  }
  const uint64_t table_pages = (ws_pages * sizeof(uint32_t) + 4095) >> 12;
  if (ws_pages + table_pages > free.pages()) return "ws does not fit in memory";
  if (ws_pages > 0) {
    const uint64_t frame = free.take(table_pages, kMaxMapped >> 12);
    if (frame == 0) return "no memory for the sequence table";
    layout.sequences = reinterpret_cast<uint32_t*>(frame_address(frame));
    free.take(ws_pages, layout.working_set);
  }
  uint64_t fill_pages = params.fill_bytes >> 12;
  if (params.fill_bytes == kFillAll) fill_pages = free.pages();
  if (fill_pages > free.pages()) return "fill does not fit in memory beside ws";
  free.take(fill_pages, layout.fill);
  return nullptr;
}

}  // namespace godwit::workload
