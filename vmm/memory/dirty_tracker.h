// Finding the pages that changed.
#pragma once
#include <string_view>

#include "vmm/memory/dirty_bitmap.h"

namespace godwit::vmm {

// A tracker sees every write to guest RAM after start(): by vCPUs (KVM) and by the host side
// (GuestMemory::mark_dirty). It may report a page that did not change, but never miss one that did.
// Threads: one caller at a time; vCPUs may run throughout.
class DirtyTracker {
 public:
  virtual ~DirtyTracker() = default;
  // Everything written from now on counts. What was written before does not.
  virtual void start() = 0;
  // ORs the pages written since start() or the last harvest into `into` and re-arms: a write that
  // comes after the re-arming of a page is in a later harvest, so the caller may read a page's
  // content as soon as this returns. Complete only for vCPUs that are paused; for a running one
  // the rest comes with the next harvest.
  virtual void harvest(DirtyBitmap& into) = 0;
  // Ends tracking and its cost. Harmless when not started.
  virtual void stop() noexcept = 0;
  // "dirty-log", "dirty-ring", ...
  [[nodiscard]] virtual std::string_view name() const = 0;
};

}  // namespace godwit::vmm
