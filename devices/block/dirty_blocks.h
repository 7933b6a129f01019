// Which parts of a disk its guest has changed.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "vmm/memory/dirty_bitmap.h"
#include "vmm/storage.h"

namespace godwit::devices {

// A request is marked when it has completed, whether it succeeded or not, and before the guest
// hears of it. So whoever harvests first and reads then misses nothing: what had completed is in
// the harvest or was read, what had not will be marked.
//
// Threads: tracking() and mark() from any; the others one at a time.
class DirtyBlocks {
 public:
  explicit DirtyBlocks(uint64_t size_bytes) : granules_(vmm::granules_of(size_bytes)) {}

  // Nothing is marked at first. The first call allocates.
  void start();
  void stop() noexcept { tracking_.store(false); }
  // Asked once for each request: a load and a branch that is predicted.
  [[nodiscard]] bool tracking() const { return tracking_.load(std::memory_order_acquire); }
  // Only while tracking(). Whatever lies beyond the end is left out.
  void mark(uint64_t offset, uint64_t length);
  // ORs what is marked into `into`, which has as many granules, and forgets it.
  void harvest(vmm::DirtyBitmap& into);

 private:
  const uint64_t granules_;
  std::unique_ptr<std::atomic<uint64_t>[]> words_;
  std::atomic<bool> tracking_{false};
};

}  // namespace godwit::devices
