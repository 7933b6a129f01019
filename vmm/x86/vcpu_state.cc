#include "vmm/x86/vcpu_state.h"

#include <cstring>
#include <system_error>

#include "vmm/kvm/ioctl.h"
#include "vmm/x86/tsc.h"

namespace godwit::vmm::x86 {
namespace {

void get_sregs(const KvmVcpu& vcpu, const Capabilities& caps, kvm_sregs2& out) {
  if (caps.sregs2) {
    GODWIT_IOCTL(vcpu.fd(), KVM_GET_SREGS2, &out);
    return;
  }
  kvm_sregs old{};
  GODWIT_IOCTL(vcpu.fd(), KVM_GET_SREGS, &old);
  out = {};
  out.cs = old.cs, out.ds = old.ds, out.es = old.es;
  out.fs = old.fs, out.gs = old.gs, out.ss = old.ss;
  out.tr = old.tr, out.ldt = old.ldt, out.gdt = old.gdt, out.idt = old.idt;
  out.cr0 = old.cr0, out.cr2 = old.cr2, out.cr3 = old.cr3, out.cr4 = old.cr4, out.cr8 = old.cr8;
  out.efer = old.efer, out.apic_base = old.apic_base;
}

int set_sregs(const KvmVcpu& vcpu, const Capabilities& caps, const kvm_sregs2& in) {
  if (caps.sregs2) return try_ioctl(vcpu.fd(), KVM_SET_SREGS2, &in);
  kvm_sregs old{};
  old.cs = in.cs, old.ds = in.ds, old.es = in.es;
  old.fs = in.fs, old.gs = in.gs, old.ss = in.ss;
  old.tr = in.tr, old.ldt = in.ldt, old.gdt = in.gdt, old.idt = in.idt;
  old.cr0 = in.cr0, old.cr2 = in.cr2, old.cr3 = in.cr3, old.cr4 = in.cr4, old.cr8 = in.cr8;
  old.efer = in.efer, old.apic_base = in.apic_base;
  return try_ioctl(vcpu.fd(), KVM_SET_SREGS, &old);
}

Result<> refused(const KvmVcpu& vcpu, const char* what, int result) {
  if (result >= 0) return {};
  return error_from_errno(-result,
                          fmt::format("KVM refuses the saved {} of vCPU {}", what, vcpu.index()));
}

// A kernel without an extension refuses its flag, also when it says only that nothing is there.
kvm_vcpu_events known_events(const kvm_vcpu_events& events, const Capabilities& caps) {
  kvm_vcpu_events known = events;
  if (!caps.exception_payload && events.exception_has_payload == 0) {
    known.flags &= ~uint32_t{KVM_VCPUEVENT_VALID_PAYLOAD};
  }
  if (!caps.triple_fault_event && events.triple_fault.pending == 0) {
    known.flags &= ~uint32_t{KVM_VCPUEVENT_VALID_TRIPLE_FAULT};
  }
  return known;
}

Result<> write_msrs(const KvmVcpu& vcpu, MsrBlock& msrs) {
  const auto bad = msrs.write(vcpu);
  if (bad.empty()) return {};
  std::string names;
  for (const uint32_t index : bad) {
    uint64_t value = 0;
    for (const kvm_msr_entry& entry : msrs.entries()) {
      if (entry.index == index) value = entry.data;
    }
    names += fmt::format("{}{} = {:#x}", names.empty() ? "" : ", ", msr_name(index), value);
  }
  return make_error(Errc::kIncompatible, "KVM here refuses MSRs of vCPU {}: {}", vcpu.index(),
                    names);
}

}  // namespace

VcpuState::VcpuState(std::span<const uint32_t> msr_list, uint32_t xsave_bytes)
    : xsave(xsave_bytes), sent_xsave_bytes(xsave_bytes), msrs(msr_list) {}

void read_state(const KvmVcpu& vcpu, const Capabilities& caps, bool tsc_offset, VcpuState& state) {
  const int fd = vcpu.fd();
  // Order: KVM_GET_MP_STATE lets KVM take a pending INIT or SIPI, which changes all the rest, so it
  // comes first (kvm_arch_vcpu_ioctl_get_mpstate calls kvm_apic_accept_events); the other calls
  // may still move pending interrupts, so the events come last.
  GODWIT_IOCTL(fd, KVM_GET_MP_STATE, &state.mp_state);
  GODWIT_IOCTL(fd, KVM_GET_REGS, &state.regs);
  get_sregs(vcpu, caps, state.sregs);
  GODWIT_IOCTL(fd, KVM_GET_XCRS, &state.xcrs);
  checked_ioctl(fd, caps.xsave2 ? kKvmGetXsave2 : kKvmGetXsave, state.xsave.data(),
                "KVM_GET_XSAVE2");
  state.msrs.read(vcpu);
  GODWIT_IOCTL(fd, KVM_GET_DEBUGREGS, &state.debug);
  read_tsc(vcpu, tsc_offset, state);
  GODWIT_IOCTL(fd, KVM_GET_LAPIC, &state.lapic);
  GODWIT_IOCTL(fd, KVM_GET_VCPU_EVENTS, &state.events);
}

Result<> write_state(const KvmVcpu& vcpu, const Capabilities& caps, VcpuState& state) {
  const int fd = vcpu.fd();
  // Order. CPUID was set when the vCPU was made: XCR0 and many MSRs are checked against it
  // (api.rst, KVM_SET_CPUID2 and KVM_SET_MSRS).
  // - XCR0 before the extended state, whose components it allows.
  // - SREGS before LAPIC: they hold the APIC base, and with it whether the LAPIC page is in xAPIC
  //   or x2APIC format (api.rst, KVM_SET_LAPIC). The id's place in it is the xAPIC one in both:
  //   that changes with KVM_CAP_X2APIC_API, which matters for ids of 255 and more alone.
  // - LAPIC before MSRs: a LAPIC whose timer is not in TSC-deadline mode drops the deadline.
  // - Events last: KVM_SET_REGS drops a pending exception, and api.rst (KVM_SET_VCPU_EVENTS) wants
  //   them to be part of a consistent whole.
  // A CPU without XSAVE has no extended control registers, and KVM refuses the empty set.
  if (state.xcrs.nr_xcrs != 0) {
    GODWIT_TRY(refused(vcpu, "XCR0", try_ioctl(fd, KVM_SET_XCRS, &state.xcrs)));
  }
  GODWIT_TRY(refused(vcpu, "segments and control registers", set_sregs(vcpu, caps, state.sregs)));
  GODWIT_TRY(refused(vcpu, "registers", try_ioctl(fd, KVM_SET_REGS, &state.regs)));
  GODWIT_TRY(refused(vcpu, "extended state", try_ioctl(fd, kKvmSetXsave, state.xsave.data())));
  GODWIT_TRY(refused(vcpu, "LAPIC", try_ioctl(fd, KVM_SET_LAPIC, &state.lapic)));
  GODWIT_TRY(write_msrs(vcpu, state.msrs));
  GODWIT_TRY(refused(vcpu, "debug registers", try_ioctl(fd, KVM_SET_DEBUGREGS, &state.debug)));
  GODWIT_TRY(refused(vcpu, "run state", try_ioctl(fd, KVM_SET_MP_STATE, &state.mp_state)));
  const kvm_vcpu_events events = known_events(state.events, caps);
  GODWIT_TRY(refused(vcpu, "events", try_ioctl(fd, KVM_SET_VCPU_EVENTS, &events)));
  return {};
}

}  // namespace godwit::vmm::x86
