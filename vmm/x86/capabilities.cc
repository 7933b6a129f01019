#include "vmm/x86/capabilities.h"

#include <algorithm>

namespace godwit::vmm::x86 {

Capabilities probe_x86_capabilities(const KvmVm& vm) {
  const auto has = [&vm](uint32_t capability) { return vm.check_extension(capability) > 0; };
  Capabilities caps;
  caps.pit2 = has(KVM_CAP_PIT2) && has(KVM_CAP_PIT_STATE2);
  caps.tsc_deadline_timer = has(KVM_CAP_TSC_DEADLINE_TIMER);
  caps.tsc_scaling = has(KVM_CAP_TSC_CONTROL);
  caps.vcpu_attributes = has(KVM_CAP_VCPU_ATTRIBUTES);
  caps.sregs2 = has(KVM_CAP_SREGS2);
  caps.xcrs = has(KVM_CAP_XCRS) && has(KVM_CAP_XSAVE);
  caps.debug_registers = has(KVM_CAP_DEBUGREGS);
  caps.vcpu_events = has(KVM_CAP_VCPU_EVENTS);
  caps.mp_state = has(KVM_CAP_MP_STATE);
  caps.exception_payload = has(KVM_CAP_EXCEPTION_PAYLOAD);
  caps.triple_fault_event = has(KVM_CAP_X86_TRIPLE_FAULT_EVENT);
  caps.kvmclock_ctrl = has(KVM_CAP_KVMCLOCK_CTRL);
  // A kernel of before the flags answers 1.
  caps.clock_flags = static_cast<uint32_t>(std::max(0, vm.check_extension(KVM_CAP_ADJUST_CLOCK)));
  const int xsave = vm.check_extension(KVM_CAP_XSAVE2);
  caps.xsave2 = xsave > 0;
  if (xsave > 4096) caps.xsave_bytes = static_cast<uint32_t>(xsave);
  return caps;
}

}  // namespace godwit::vmm::x86
