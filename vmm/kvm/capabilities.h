// What this KVM can do, beside what an architecture adds (vmm/x86/capabilities.h).
#pragma once
#include <cstdint>

#include "vmm/kvm/vm_fd.h"

namespace godwit::vmm {

// Probed once per VM; nothing is inferred from the CPU's vendor or the kernel's version.
struct KvmCapabilities {
  bool user_memory = false;
  bool immediate_exit = false;
  bool irqchip = false;
  uint32_t memory_slots = 0;
  uint32_t recommended_vcpus = 1;
  uint32_t max_vcpus = 1;
  uint32_t max_vcpu_id = 1;
  // KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET; 0 when absent.
  uint32_t manual_dirty_log_protect = 0;
  // The number to enable the dirty ring with (acquire-release variant preferred), 0 when absent;
  // the largest ring in bytes.
  uint32_t dirty_ring_capability = 0;
  uint32_t dirty_ring_max_bytes = 0;
};
KvmCapabilities probe_capabilities(const KvmVm& vm);

}  // namespace godwit::vmm
