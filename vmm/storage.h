// A disk of the guest as migration sees it, when its content moves along (--copy-storage): the
// source reads it and tracks what changes, the target writes it.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/error.h"
#include "vmm/memory/dirty_bitmap.h"

namespace godwit::vmm {

// The unit of tracking. Granule g is the bytes [g, g + 1) * kStorageGranule, as far as the disk
// goes. Sets of granules are DirtyBitmaps, a granule in the place of a page.
inline constexpr uint64_t kStorageGranule = 64u << 10;
// Buffers for read() and write() begin at such addresses; others are copied once more.
inline constexpr size_t kStorageAlignment = 4096;
inline constexpr uint64_t kMaxStorageBytes = uint64_t{1} << 50;

constexpr uint64_t granules_of(uint64_t size_bytes) {
  return (size_bytes + kStorageGranule - 1) / kStorageGranule;
}

struct VolumeDescription {
  std::string name;         // the same on both sides
  uint64_t size_bytes = 0;  // a multiple of 512
  // Two volumes with the same one are the same file or device of the same host. Empty: unknown.
  std::string identity;
  bool operator==(const VolumeDescription&) const = default;
};

// Offsets and lengths are multiples of kStorageGranule, or end where the disk does. Errors name
// the disk.
//
// Threads: start_tracking(), harvest() and stop_tracking() one at a time; the others one at a time
// as well, beside those and beside the guest's own use of the disk.
class StorageVolume {
 public:
  virtual ~StorageVolume() = default;
  [[nodiscard]] virtual const VolumeDescription& description() const = 0;

  // From here on every change by the guest is tracked, with those that are under way.
  virtual void start_tracking() = 0;
  // ORs what changed since start_tracking() or the last harvest into `into`, and forgets it. A
  // change that a read() after the harvest may have missed is in the next harvest. While the
  // machine is paused nothing is under way: then the harvest is complete.
  virtual void harvest(DirtyBitmap& into) = 0;
  virtual void stop_tracking() noexcept = 0;
  // The first offset from `offset` on that may hold anything but zeroes; the disk's size: none.
  virtual uint64_t next_data(uint64_t offset) = 0;
  virtual Result<> read(uint64_t offset, std::span<std::byte> to) = 0;

  // For a machine that has not run yet, and whose factory was told of the volume. kPrecondition
  // otherwise.
  virtual Result<> write(uint64_t offset, std::span<const std::byte> from) = 0;
  virtual Result<> write_zeroes(uint64_t offset, uint64_t length) = 0;
  // What was written is on the disk for good.
  virtual Result<> flush() = 0;
  // The guest is this host's now, and the volume with it: a file that was made for it stays.
  // Without this, the destructor takes back what it can and logs what it cannot.
  virtual void keep() = 0;
};

}  // namespace godwit::vmm
