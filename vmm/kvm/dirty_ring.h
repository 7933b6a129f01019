// Dirty tracking by KVM's ring per vCPU (api.rst 8.29, KVM_CAP_DIRTY_LOG_RING).
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "vmm/base/mapping.h"
#include "vmm/kvm/capabilities.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/memory/dirty_tracker.h"

namespace godwit::vmm {

// Cost goes with the pages dirtied, not with the size of memory: no bitmap is copied. Pages that a
// vCPU's thread had to collect because its ring was full wait in a bitmap for the next harvest.
class DirtyRing final : public DirtyTracker {
 public:
  // Enables the rings: before the first vCPU is created, and from then on KVM has no dirty log.
  DirtyRing(KvmVm& vm, MemorySlots& slots, GuestMemory& memory, const KvmCapabilities& caps);
  ~DirtyRing() override;

  // Maps the ring of a vCPU. Before the vCPUs run.
  void add_vcpu(const KvmVcpu& vcpu);
  // On KVM_EXIT_DIRTY_RING_FULL: empties the rings, so that the vCPU can go on. Any thread.
  void collect_full();

  void start() override;
  void harvest(DirtyBitmap& into) override;
  void stop() noexcept override;
  [[nodiscard]] std::string_view name() const override { return "dirty-ring"; }

 private:
  struct Ring {
    Mapping mapping;
    uint32_t next = 0;  // entry to be collected next, not reduced modulo the ring's size
  };
  // Moves the entries of all rings into `into` and re-arms their pages.
  void collect_locked(DirtyBitmap& into);
  void take_pending_locked(DirtyBitmap& into);

  KvmVm& vm_;
  MemorySlots& slots_;
  GuestMemory& memory_;
  uint32_t entries_;  // per ring, a power of two
  std::mutex mutex_;
  std::vector<Ring> rings_;
  DirtyBitmap pending_;
  bool any_pending_ = false;
  bool started_ = false;
};

}  // namespace godwit::vmm
