// Dirty tracking by KVM's bitmap per memory slot (api.rst: KVM_GET_DIRTY_LOG, KVM_CLEAR_DIRTY_LOG,
// KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2).
#pragma once
#include <cstdint>

#include "vmm/kvm/memory_slots.h"
#include "vmm/memory/dirty_tracker.h"

namespace godwit::vmm {

// With manual protect a harvest copies the bitmap and then re-arms only the stretches that hold
// dirty pages, in pieces, so that vCPUs are not held up for long; without it one GET does both.
class DirtyLog final : public DirtyTracker {
 public:
  // `manual_protect`: the KVM_DIRTY_LOG_* flags to use (0: plain); enabled here, before start().
  // All outlive the tracker.
  DirtyLog(KvmVm& vm, MemorySlots& slots, GuestMemory& memory, uint32_t manual_protect);
  ~DirtyLog() override;

  void start() override;
  void harvest(DirtyBitmap& into) override;
  void stop() noexcept override;
  [[nodiscard]] std::string_view name() const override;

 private:
  void clear_everything(uint32_t slot, const MemoryRegion& region);

  KvmVm& vm_;
  MemorySlots& slots_;
  GuestMemory& memory_;
  uint32_t manual_protect_;
  bool started_ = false;
  DirtyBitmap scratch_;  // as KVM filled it, one bit per PageIndex
};

}  // namespace godwit::vmm
