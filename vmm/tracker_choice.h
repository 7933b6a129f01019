// Which dirty tracker a VM gets.
#pragma once
#include <memory>

#include "vmm/kvm/capabilities.h"
#include "vmm/kvm/dirty_ring.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/vm.h"

namespace godwit::vmm {

struct TrackerChoice {
  std::unique_ptr<DirtyTracker> tracker;
  // The tracker again when it is a ring: it must be given the vCPUs. Null otherwise.
  DirtyRing* ring = nullptr;
};

// kAuto: the log when KVM can re-arm it piece by piece, else the ring, else the plain log. The ring
// costs by pages dirtied where the log costs by memory size too, but it makes vCPUs exit when it is
// full. Before the first vCPU is created.
// Errors: kUnsupported when the ring is asked for and KVM has none.
Result<TrackerChoice> choose_tracker(DirtyTracking wanted, KvmVm& vm, MemorySlots& slots,
                                     GuestMemory& memory, const KvmCapabilities& caps);

}  // namespace godwit::vmm
