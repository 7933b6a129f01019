// Guest RAM as KVM sees it: one memory slot per region.
#pragma once
#include <cstdint>

#include "vmm/kvm/vm_fd.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm {

// Slot i is region i of the guest memory. Region sizes are multiples of 2 MiB, so the first page of
// each starts a word of a DirtyBitmap and each fills whole words.
// Threads: one at a time.
class MemorySlots {
 public:
  // Registers every region. Both outlive the slots.
  MemorySlots(KvmVm& vm, GuestMemory& memory);
  [[nodiscard]] std::span<const MemoryRegion> regions() const { return memory_.regions(); }
  [[nodiscard]] bool contains(uint64_t gpa) const;
  // KVM_MEM_LOG_DIRTY_PAGES on or off for all slots (api.rst 4.35: flags of an existing slot may
  // change while vCPUs run).
  void set_logging(bool on);

 private:
  KvmVm& vm_;
  GuestMemory& memory_;
};

}  // namespace godwit::vmm
