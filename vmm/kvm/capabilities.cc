#include "vmm/kvm/capabilities.h"

#include <algorithm>

#include "vmm/kvm/constants.h"

namespace godwit::vmm {

KvmCapabilities probe_capabilities(const KvmVm& vm) {
  const auto ask = [&vm](uint32_t capability) {
    return static_cast<uint32_t>(vm.check_extension(capability));
  };
  KvmCapabilities caps;
  caps.user_memory = ask(KVM_CAP_USER_MEMORY) != 0;
  caps.immediate_exit = ask(KVM_CAP_IMMEDIATE_EXIT) != 0;
  caps.irqchip = ask(KVM_CAP_IRQCHIP) != 0;
  caps.memory_slots = ask(KVM_CAP_NR_MEMSLOTS);
  // api.rst, 4.4 and 4.7: without NR_VCPUS assume 4, without MAX_VCPUS the recommended number,
  // without MAX_VCPU_ID the maximum.
  const uint32_t recommended = ask(KVM_CAP_NR_VCPUS);
  caps.recommended_vcpus = recommended != 0 ? recommended : 4;
  caps.max_vcpus = std::max(ask(KVM_CAP_MAX_VCPUS), caps.recommended_vcpus);
  const uint32_t id = ask(KVM_CAP_MAX_VCPU_ID);
  caps.max_vcpu_id = id != 0 ? id : caps.max_vcpus;
  caps.manual_dirty_log_protect =
      ask(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
      (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
  for (const uint32_t ring : {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING}) {
    if (caps.dirty_ring_capability != 0) break;
    if (const uint32_t bytes = ask(ring); bytes != 0) {
      caps.dirty_ring_capability = ring;
      caps.dirty_ring_max_bytes = bytes;
    }
  }
  return caps;
}

}  // namespace godwit::vmm
