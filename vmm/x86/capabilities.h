// What this KVM can do on x86, beside vmm/kvm/capabilities.h.
#pragma once
#include <cstdint>

#include "vmm/kvm/vm_fd.h"

namespace godwit::vmm::x86 {

// Probed once per VM.
struct Capabilities {
  bool pit2 = false;
  bool tsc_deadline_timer = false;
  bool tsc_scaling = false;      // KVM_CAP_TSC_CONTROL
  bool vcpu_attributes = false;  // KVM_CAP_VCPU_ATTRIBUTES: KVM_VCPU_TSC_OFFSET may exist
  bool sregs2 = false;
  bool xcrs = false;
  bool debug_registers = false;
  bool vcpu_events = false;
  bool mp_state = false;
  bool exception_payload = false;
  bool triple_fault_event = false;
  bool kvmclock_ctrl = false;
  uint32_t clock_flags = 0;     // KVM_CLOCK_* that KVM_GET_CLOCK and KVM_SET_CLOCK know
  uint32_t xsave_bytes = 4096;  // of KVM_GET_XSAVE2 and KVM_SET_XSAVE
  bool xsave2 = false;
};
Capabilities probe_x86_capabilities(const KvmVm& vm);

}  // namespace godwit::vmm::x86
