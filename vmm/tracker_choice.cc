#include "vmm/tracker_choice.h"

#include "vmm/kvm/dirty_log.h"

namespace godwit::vmm {

Result<TrackerChoice> choose_tracker(DirtyTracking wanted, KvmVm& vm, MemorySlots& slots,
                                     GuestMemory& memory, const KvmCapabilities& caps) {
  const bool has_ring = caps.dirty_ring_capability != 0;
  if (wanted == DirtyTracking::kRing && !has_ring) {
    return make_error(Errc::kUnsupported,
                      "KVM here has no dirty ring (KVM_CAP_DIRTY_LOG_RING): use --dirty-tracking "
                      "auto or log");
  }
  const bool ring =
      wanted == DirtyTracking::kRing ||
      (wanted == DirtyTracking::kAuto && caps.manual_dirty_log_protect == 0 && has_ring);
  TrackerChoice choice;
  if (ring) {
    auto tracker = std::make_unique<DirtyRing>(vm, slots, memory, caps);
    choice.ring = tracker.get();
    choice.tracker = std::move(tracker);
  } else {
    choice.tracker = std::make_unique<DirtyLog>(vm, slots, memory, caps.manual_dirty_log_protect);
  }
  return choice;
}

}  // namespace godwit::vmm
