#include "vmm/memory/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "vmm/base/check.h"
#include "vmm/base/syscall.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

namespace godwit::vmm {
namespace {

Result<> check_config(const MemoryConfig& config) {
  const uint64_t size = config.size.value;
  if (size < kMinGuestMemory.value || size > kMaxGuestMemory.value) {
    return make_error(Errc::kInvalidArgument, "guest memory of {} bytes is outside 16 MiB to 4 TiB",
                      size);
  }
  const uint64_t unit = std::max<uint64_t>(config.hugepage_size.value, (2_MiB).value);
  if (size % unit != 0) {
    return make_error(Errc::kInvalidArgument, "guest memory of {} bytes is no multiple of {} MiB",
                      size, unit >> 20);
  }
  const uint64_t huge = config.hugepage_size.value;
  if (huge != 0 && huge != (2_MiB).value && huge != (1_GiB).value) {
    return make_error(Errc::kInvalidArgument, "huge pages of {} bytes: only 2M and 1G exist", huge);
  }
  if (huge != 0 && config.transparent_hugepages) {
    return make_error(Errc::kInvalidArgument,
                      "transparent huge pages and hugetlb pages exclude each other");
  }
  return {};
}

Error hugetlb_error(const MemoryConfig& config, int error) {
  return error_from_errno(
      error,
      fmt::format("no {} huge pages of {} MiB free for the guest: raise "
                  "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages, or drop --hugepages",
                  config.size.value / config.hugepage_size.value, config.hugepage_size.value >> 20,
                  config.hugepage_size.value >> 10));
}

}  // namespace

std::vector<MemoryRegion> memory_regions_for(ByteCount size) {
  const uint64_t low = std::min(size.value, kHoleStart.value);
  std::vector<MemoryRegion> regions{{Gpa{0}, ByteCount{low}, PageIndex{0}}};
  if (size.value > low) {
    regions.push_back({kHoleEnd, ByteCount{size.value - low}, PageIndex{low >> kPageShift}});
  }
  return regions;
}

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(const MemoryConfig& config) {
  GODWIT_TRY(check_config(config));
  unsigned flags = MFD_CLOEXEC;
  if (config.hugepage_size.value != 0) {
    const auto shift = static_cast<unsigned>(std::countr_zero(config.hugepage_size.value));
    flags |= MFD_HUGETLB | (shift << MFD_HUGE_SHIFT);
  }
  UniqueFd fd(::memfd_create("godwit-guest-ram", flags));
  if (!fd) return error_from_errno(errno, "cannot create the guest's memory (memfd_create)");
  if (::ftruncate(fd.get(), static_cast<off_t>(config.size.value)) != 0) {
    return error_from_errno(errno, "cannot size the guest's memory (ftruncate)");
  }
  // Huge pages are reserved: a pool that is too small is found here, not by a SIGBUS later.
  const int map_flags = MAP_SHARED | (config.hugepage_size.value != 0 ? 0 : MAP_NORESERVE);
  void* address =
      ::mmap(nullptr, config.size.value, PROT_READ | PROT_WRITE, map_flags, fd.get(), 0);
  if (address == MAP_FAILED) {
    const int error = errno;
    if (config.hugepage_size.value != 0) return hugetlb_error(config, error);
    return error_from_errno(error, "cannot map the guest's memory");
  }
  ::munmap(address, config.size.value);
  Mapping mapping = Mapping::map(config.size.value, PROT_READ | PROT_WRITE, map_flags, fd.get());
  std::unique_ptr<GuestMemory> memory(new GuestMemory(config, std::move(fd), std::move(mapping)));
  if (config.prealloc) {
    GODWIT_TRY(memory->populate({PageIndex{0}, memory->page_count()}));
  }
  return memory;
}

GuestMemory::GuestMemory(const MemoryConfig& config, UniqueFd fd, Mapping mapping)
    : config_(config),
      fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      regions_(memory_regions_for(config.size)),
      host_dirty_((page_count() + 63) / 64) {
  // Advice only: a kernel without THP still runs the guest, on small pages.
  ::madvise(mapping_.data(), mapping_.size(),
            config_.transparent_hugepages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  ::madvise(mapping_.data(), mapping_.size(), MADV_DONTDUMP);
}

GuestMemory::~GuestMemory() = default;

Result<PageIndex> GuestMemory::page_of(Gpa gpa, uint64_t bytes) const {
  for (const MemoryRegion& region : regions_) {
    if (gpa < region.gpa) continue;
    const uint64_t offset = gpa.value - region.gpa.value;
    if (offset <= region.size.value && bytes <= region.size.value - offset) {
      return PageIndex{region.first_page.value + (offset >> kPageShift)};
    }
  }
  return make_error(Errc::kInvalidArgument, "guest-physical {:#x}+{:#x} is outside guest RAM",
                    gpa.value, bytes);
}

Result<std::span<std::byte>> GuestMemory::at(Gpa gpa, ByteCount size) const {
  GODWIT_ASSIGN(const PageIndex first, page_of(gpa, size.value));
  return std::span<std::byte>(page(first) + (gpa.value & (kPageSize - 1)), size.value);
}

Result<> GuestMemory::read(Gpa gpa, std::span<std::byte> to) const {
  GODWIT_ASSIGN(const auto from, at(gpa, ByteCount{to.size()}));
  std::copy(from.begin(), from.end(), to.begin());
  return {};
}

Result<> GuestMemory::write(Gpa gpa, std::span<const std::byte> from) {
  GODWIT_ASSIGN(const auto to, at(gpa, ByteCount{from.size()}));
  std::copy(from.begin(), from.end(), to.begin());
  mark_dirty(gpa, ByteCount{from.size()});
  return {};
}

void GuestMemory::mark_dirty(Gpa gpa, ByteCount size) {
  if (size.value == 0 || !recording_.load(std::memory_order_relaxed)) return;
  const auto first = page_of(gpa, size.value);
  GODWIT_CHECK(first.has_value(), "marking a page outside guest RAM");
  const uint64_t last =
      first->value + (((gpa.value & (kPageSize - 1)) + size.value - 1) >> kPageShift);
  for (uint64_t p = first->value; p <= last; ++p) {
    host_dirty_[p / 64].fetch_or(uint64_t{1} << (p % 64), std::memory_order_release);
  }
}

void GuestMemory::record_host_writes(bool on) {
  if (on) {
    for (auto& word : host_dirty_) word.store(0, std::memory_order_relaxed);
  }
  recording_.store(on, std::memory_order_seq_cst);
}

void GuestMemory::drain_host_writes(DirtyBitmap& into) {
  GODWIT_CHECK(into.pages() == page_count(), "bitmap of another guest");
  const auto words = into.words();
  for (size_t w = 0; w < host_dirty_.size(); ++w) {
    if (host_dirty_[w].load(std::memory_order_relaxed) == 0) continue;
    words[w] |= host_dirty_[w].exchange(0, std::memory_order_acquire);
  }
}

std::vector<PageRange> GuestMemory::touched() const {
  if (config_.hugepage_size.value != 0) return {{PageIndex{0}, page_count()}};
  std::vector<PageRange> ranges;
  const auto end = static_cast<off_t>(config_.size.value);
  off_t position = 0;
  while (position < end) {
    const off_t data = ::lseek(fd_.get(), position, SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) break;  // nothing but hole up to the end
      throw_errno("lseek(SEEK_DATA) on guest memory");
    }
    const off_t hole =
        check_syscall(::lseek(fd_.get(), data, SEEK_HOLE), "lseek(SEEK_HOLE) on guest memory");
    const auto first = static_cast<uint64_t>(data) >> kPageShift;
    const auto last = (static_cast<uint64_t>(std::min(hole, end)) + kPageSize - 1) >> kPageShift;
    ranges.push_back({PageIndex{first}, last - first});
    position = hole;
  }
  return ranges;
}

Result<> GuestMemory::discard(Gpa gpa, ByteCount size) {
  GODWIT_ASSIGN(const auto bytes, at(gpa, size));
  const uint64_t unit = std::max<uint64_t>(config_.hugepage_size.value, kPageSize);
  // Of the file, which the regions follow one another in.
  const auto offset = static_cast<uint64_t>(bytes.data() - base());
  const uint64_t start = (offset + unit - 1) / unit * unit;
  const uint64_t end = (offset + size.value) / unit * unit;
  if (start >= end) return {};
  if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(start),
                  static_cast<off_t>(end - start)) != 0)
    return error_from_errno(
        errno, fmt::format("cannot give {} bytes of guest memory at {:#x} back to the host",
                           end - start, gpa.value));
  // Marked after the change: who harvested in between has read either, and reads again.
  mark_dirty(gpa + (start - offset), ByteCount{end - start});
  return {};
}

Result<> GuestMemory::populate(PageRange range) {
  GODWIT_CHECK(range.first.value + range.count <= page_count(), "range outside guest memory");
  std::byte* start = page(range.first);
  const size_t bytes = range.count << kPageShift;
  if (::madvise(start, bytes, MADV_POPULATE_WRITE) == 0) return {};
  const int error = errno;
  if (error != EINVAL) {
    if (config_.hugepage_size.value != 0) return hugetlb_error(config_, error);
    return error_from_errno(error,
                            fmt::format("cannot populate {} MiB of guest memory", bytes >> 20));
  }
  // Before Linux 5.14: touch each page without changing it.
  for (size_t offset = 0; offset < bytes; offset += kPageSize) {
    reinterpret_cast<std::atomic<char>*>(start + offset)->fetch_or(0, std::memory_order_relaxed);
  }
  return {};
}

}  // namespace godwit::vmm
