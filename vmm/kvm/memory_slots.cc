#include "vmm/kvm/memory_slots.h"

#include <algorithm>

#include "vmm/base/check.h"
#include "vmm/kvm/constants.h"

namespace godwit::vmm {

MemorySlots::MemorySlots(KvmVm& vm, GuestMemory& memory) : vm_(vm), memory_(memory) {
  for (const MemoryRegion& region : regions()) {
    GODWIT_CHECK(region.first_page.value % 64 == 0 && region.size.pages() % 64 == 0,
                 "a region that shares a bitmap word with another");
  }
  set_logging(false);
}

bool MemorySlots::contains(uint64_t gpa) const {
  return std::any_of(regions().begin(), regions().end(), [gpa](const MemoryRegion& region) {
    return gpa >= region.gpa.value && gpa - region.gpa.value < region.size.value;
  });
}

void MemorySlots::set_logging(bool on) {
  uint32_t slot = 0;
  for (const MemoryRegion& region : regions()) {
    vm_.set_memory_slot(slot++, region.gpa.value, region.size.value,
                        memory_.page(region.first_page), on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
  }
}

}  // namespace godwit::vmm
