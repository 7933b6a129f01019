// Guest RAM: one memfd, one mapping, up to two guest-physical regions around the hole under 4 GiB.
#pragma once
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/fd.h"
#include "vmm/base/mapping.h"
#include "vmm/base/types.h"
#include "vmm/memory/dirty_bitmap.h"

namespace godwit::vmm {

// RAM below the hole ends here at the latest; what is over continues at 4 GiB. Between them lie
// PCI windows, IOAPIC, LAPIC and firmware.
inline constexpr Gpa kHoleStart{uint64_t{3} << 30};
inline constexpr Gpa kHoleEnd{uint64_t{4} << 30};
inline constexpr ByteCount kMinGuestMemory = 16_MiB;
inline constexpr ByteCount kMaxGuestMemory{uint64_t{4} << 40};

struct MemoryConfig {
  ByteCount size;                      // 16 MiB to 4 TiB, a multiple of 2 MiB
  ByteCount hugepage_size{0};          // 0: ordinary pages; 2 MiB or 1 GiB: hugetlb
  bool transparent_hugepages = false;  // madvise(MADV_HUGEPAGE); not with hugetlb
  bool prealloc = false;               // populate every page now instead of at first touch
};

// A stretch of RAM that is contiguous for the guest.
struct MemoryRegion {
  Gpa gpa;
  ByteCount size;
  PageIndex first_page;
};

// A run of pages.
struct PageRange {
  PageIndex first;
  uint64_t count = 0;
};

// The regions that a guest of `size` has.
std::vector<MemoryRegion> memory_regions_for(ByteCount size);

// Threads: the accessors may be used from any thread. What the guest does to its memory meanwhile
// is its own affair: readers must expect bytes to change under them.
class GuestMemory {
 public:
  // Errors: a size or page size that cannot be, or that this host cannot give (says what to do).
  static Result<std::unique_ptr<GuestMemory>> create(const MemoryConfig& config);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  [[nodiscard]] const MemoryConfig& config() const { return config_; }
  [[nodiscard]] ByteCount size() const { return config_.size; }
  [[nodiscard]] uint64_t page_count() const { return config_.size.value >> kPageShift; }
  [[nodiscard]] std::span<const MemoryRegion> regions() const { return regions_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

  // All pages lie behind one another: page p is at base() + p * kPageSize.
  [[nodiscard]] std::byte* base() const { return mapping_.data(); }
  [[nodiscard]] std::byte* page(PageIndex page) const {
    return mapping_.data() + (page.value << kPageShift);
  }

  // Host access by guest-physical address; errors when any byte is outside RAM. write() marks the
  // pages dirty, so that a migration in progress sends them.
  Result<> read(Gpa gpa, std::span<std::byte> to) const;
  Result<> write(Gpa gpa, std::span<const std::byte> from);
  // The host bytes of [gpa, gpa + size) for direct use; errors unless all of it lies in one region.
  // Who writes through it calls mark_dirty() after each write.
  Result<std::span<std::byte>> at(Gpa gpa, ByteCount size) const;
  void mark_dirty(Gpa gpa, ByteCount size);

  // Pages written by the host side (VMM and devices). A dirty tracker turns recording on and
  // drains. Recording off costs one relaxed load per write.
  void record_host_writes(bool on);
  // ORs the pages recorded since the last call into `into` and forgets them.
  void drain_host_writes(DirtyBitmap& into);

  // The pages that hold memory at all (SEEK_DATA on the memfd): everything else was never touched
  // and reads as zeroes. With hugetlb every page counts as touched.
  [[nodiscard]] std::vector<PageRange> touched() const;

  // Gives the host what it backs [gpa, gpa + size) with: the pages read as zeroes, are no longer
  // touched(), and are marked dirty, so that a migration in progress sends the zeroes. Pages of the
  // host (of hugepage_size with hugetlb) that lie only partly in the range stay as they are. With
  // hugetlb a page goes back to the host's pool, which must still have one when the guest wants it
  // again. Errors: a range outside RAM; the host refuses. Any thread.
  Result<> discard(Gpa gpa, ByteCount size);

  // Populates [first, first + count) for writing (MADV_POPULATE_WRITE). Errors: no memory left.
  Result<> populate(PageRange range);

 private:
  GuestMemory(const MemoryConfig& config, UniqueFd fd, Mapping mapping);
  [[nodiscard]] Result<PageIndex> page_of(Gpa gpa, uint64_t bytes) const;

  MemoryConfig config_;
  UniqueFd fd_;
  Mapping mapping_;
  std::vector<MemoryRegion> regions_;
  std::atomic<bool> recording_{false};
  std::vector<std::atomic<uint64_t>> host_dirty_;
};

}  // namespace godwit::vmm
