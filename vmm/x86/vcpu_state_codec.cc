// "x86-vcpu", version 1, little-endian, in this order:
//   u32 mp_state
//   u64 x 18 rax rbx rcx rdx rsi rdi rsp rbp r8..r15 rip rflags
//   8 segments cs ds es fs gs ss tr ldt: u64 base, u32 limit, u16 selector, u8 type present dpl db
//     s l g avl unusable
//   gdt, idt: u64 base, u16 limit
//   u64 cr0 cr2 cr3 cr4 cr8 efer apic_base, u64 flags (bit 0: the PDPTRs are valid), u64 x 4 pdptr
//   u64 x 4 dr0..dr3, u64 dr6 dr7 flags
//   events: u8 exception.{injected nr has_error_code pending}, u32 exception.error_code,
//     u8 interrupt.{injected nr soft shadow}, u8 nmi.{injected pending masked}, u32 sipi_vector,
//     u32 flags, u8 smi.{smm pending smm_inside_nmi latched_init}, u8 triple_fault.pending,
//     u8 exception_has_payload, u64 exception_payload
//   u32 count (at most 16), then u32 number, u64 value per extended control register
//   blob: LAPIC registers (1024 bytes, as KVM_GET_LAPIC)
//   blob: extended state (as KVM_GET_XSAVE2; standard format)
//   u32 count, then u32 index, u64 value per MSR, in the order of the CPU profile
//   u64 tsc, tsc_offset, tsc_deadline
#include <algorithm>
#include <cstring>

#include "vmm/x86/vcpu_state.h"

namespace godwit::vmm::x86 {
namespace {

constexpr uint32_t kMaxMsrs = 1024;
constexpr uint32_t kMaxXsaveBytes = 64u << 10;
constexpr uint32_t kKnownEventFlags =
    KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SHADOW |
    KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT;

// One description of the fields for both directions: each calls visitor(field) for every integer
// in wire order.
template <class Visitor>
void visit_registers(kvm_regs& r, Visitor&& v) {
  for (auto* field : {&r.rax, &r.rbx, &r.rcx, &r.rdx, &r.rsi, &r.rdi, &r.rsp, &r.rbp, &r.r8, &r.r9,
                      &r.r10, &r.r11, &r.r12, &r.r13, &r.r14, &r.r15, &r.rip, &r.rflags}) {
    v(*field);
  }
}

template <class Visitor>
void visit_segment(kvm_segment& s, Visitor&& v) {
  v(s.base);
  v(s.limit);
  v(s.selector);
  for (auto* field : {&s.type, &s.present, &s.dpl, &s.db, &s.s, &s.l, &s.g, &s.avl, &s.unusable}) {
    v(*field);
  }
}

template <class Visitor>
void visit_sregs(kvm_sregs2& s, Visitor&& v) {
  for (auto* segment : {&s.cs, &s.ds, &s.es, &s.fs, &s.gs, &s.ss, &s.tr, &s.ldt}) {
    visit_segment(*segment, v);
  }
  for (auto* table : {&s.gdt, &s.idt}) {
    v(table->base);
    v(table->limit);
  }
  for (auto* field : {&s.cr0, &s.cr2, &s.cr3, &s.cr4, &s.cr8, &s.efer, &s.apic_base, &s.flags}) {
    v(*field);
  }
  for (auto& pdptr : s.pdptrs) v(pdptr);
}

template <class Visitor>
void visit_debug(kvm_debugregs& d, Visitor&& v) {
  for (auto& address : d.db) v(address);
  v(d.dr6);
  v(d.dr7);
  v(d.flags);
}

template <class Visitor>
void visit_events(kvm_vcpu_events& e, Visitor&& v) {
  v(e.exception.injected);
  v(e.exception.nr);
  v(e.exception.has_error_code);
  v(e.exception.pending);
  v(e.exception.error_code);
  v(e.interrupt.injected);
  v(e.interrupt.nr);
  v(e.interrupt.soft);
  v(e.interrupt.shadow);
  v(e.nmi.injected);
  v(e.nmi.pending);
  v(e.nmi.masked);
  v(e.sipi_vector);
  v(e.flags);
  v(e.smi.smm);
  v(e.smi.pending);
  v(e.smi.smm_inside_nmi);
  v(e.smi.latched_init);
  v(e.triple_fault.pending);
  v(e.exception_has_payload);
  v(e.exception_payload);
}

template <class Visitor>
void visit_times(VcpuState& s, Visitor&& v) {
  v(s.tsc);
  v(s.tsc_offset);
  v(s.tsc_deadline);
}

struct FieldWriter {
  ByteWriter& out;
  template <class T>
  void operator()(T value) const {
    if constexpr (sizeof(T) == 1) {
      out.u8(value);
    } else if constexpr (sizeof(T) == 2) {
      out.u16(value);
    } else if constexpr (sizeof(T) == 4) {
      out.u32(value);
    } else {
      out.u64(value);
    }
  }
};

struct FieldReader {
  ByteReader& in;
  template <class T>
  void operator()(T& value) const {
    if constexpr (sizeof(T) == 1) {
      value = in.u8();
    } else if constexpr (sizeof(T) == 2) {
      value = in.u16();
    } else if constexpr (sizeof(T) == 4) {
      value = in.u32();
    } else {
      value = in.u64();
    }
  }
};

void read_xcrs(ByteReader& in, kvm_xcrs& xcrs) {
  xcrs = {};
  xcrs.nr_xcrs = in.count(KVM_MAX_XCRS, "the number of extended control registers");
  for (uint32_t i = 0; i < xcrs.nr_xcrs; ++i) {
    xcrs.xcrs[i].xcr = in.u32();
    xcrs.xcrs[i].value = in.u64();
  }
}

void read_lapic(ByteReader& in, kvm_lapic_state& lapic) {
  const auto registers = in.blob(sizeof(lapic.regs), "the size of the LAPIC page");
  if (in.ok() && registers.size() != sizeof(lapic.regs)) {
    in.fail(make_error(Errc::kCorrupt, "vCPU state: a LAPIC page of {} bytes, {} expected",
                       registers.size(), sizeof(lapic.regs)));
  }
  if (in.ok()) std::memcpy(lapic.regs, registers.data(), sizeof(lapic.regs));
}

void read_xsave(ByteReader& in, std::vector<std::byte>& xsave) {
  const auto bytes = in.blob(kMaxXsaveBytes, "the size of the extended state");
  if (in.ok() && bytes.size() > xsave.size()) {
    in.fail(make_error(Errc::kIncompatible,
                       "vCPU state: extended state of {} bytes, KVM here takes {}", bytes.size(),
                       xsave.size()));
  }
  if (!in.ok()) return;
  const auto rest = std::copy(bytes.begin(), bytes.end(), xsave.begin());
  std::fill(rest, xsave.end(), std::byte{0});
}

// The list was agreed on with the CPU profile: a peer cannot have any other MSR written.
void read_msrs(ByteReader& in, MsrBlock& msrs) {
  const uint32_t count = in.count(kMaxMsrs, "the number of MSRs");
  if (in.ok() && count != msrs.size()) {
    in.fail(make_error(Errc::kCorrupt, "vCPU state: {} MSRs, the CPU profile names {}", count,
                       msrs.size()));
  }
  if (!in.ok()) return;
  for (kvm_msr_entry& entry : msrs.entries()) {
    const uint32_t index = in.u32();
    if (in.ok() && index != entry.index) {
      in.fail(make_error(Errc::kCorrupt, "vCPU state: MSR {:#x} where the CPU profile has {:#x}",
                         index, entry.index));
    }
    entry.data = in.u64();
  }
}

Result<> check(const VcpuState& state) {
  switch (state.mp_state.mp_state) {
    case KVM_MP_STATE_RUNNABLE:
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
    case KVM_MP_STATE_HALTED:
    case KVM_MP_STATE_SIPI_RECEIVED:
    case KVM_MP_STATE_AP_RESET_HOLD:
      break;
    default:
      return make_error(Errc::kCorrupt, "vCPU state: run state {} is unknown",
                        state.mp_state.mp_state);
  }
  if ((state.events.flags & ~kKnownEventFlags) != 0) {
    return make_error(Errc::kCorrupt, "vCPU state: event flags {:#x} are unknown",
                      state.events.flags);
  }
  if ((state.sregs.flags & ~uint64_t{KVM_SREGS2_FLAGS_PDPTRS_VALID}) != 0) {
    return make_error(Errc::kCorrupt, "vCPU state: special register flags {:#x} are unknown",
                      state.sregs.flags);
  }
  return {};
}

}  // namespace

void encode(VcpuState& state, ByteWriter& out) {
  const FieldWriter write{out};
  write(state.mp_state.mp_state);
  visit_registers(state.regs, write);
  visit_sregs(state.sregs, write);
  visit_debug(state.debug, write);
  visit_events(state.events, write);
  out.u32(state.xcrs.nr_xcrs);
  for (uint32_t i = 0; i < state.xcrs.nr_xcrs; ++i) {
    out.u32(state.xcrs.xcrs[i].xcr);
    out.u64(state.xcrs.xcrs[i].value);
  }
  out.blob(std::as_bytes(std::span(state.lapic.regs)));
  out.blob(std::span(state.xsave).first(state.sent_xsave_bytes));
  out.u32(static_cast<uint32_t>(state.msrs.size()));
  for (const kvm_msr_entry& entry : state.msrs.entries()) {
    out.u32(entry.index);
    out.u64(entry.data);
  }
  visit_times(state, write);
}

Result<> decode(std::span<const std::byte> payload, VcpuState& state) {
  ByteReader in(payload, "vCPU state");
  const FieldReader read{in};
  state.mp_state = {};
  state.regs = {};
  state.sregs = {};
  state.debug = {};
  state.events = {};
  read(state.mp_state.mp_state);
  visit_registers(state.regs, read);
  visit_sregs(state.sregs, read);
  visit_debug(state.debug, read);
  visit_events(state.events, read);
  read_xcrs(in, state.xcrs);
  read_lapic(in, state.lapic);
  read_xsave(in, state.xsave);
  read_msrs(in, state.msrs);
  visit_times(state, read);
  GODWIT_TRY(in.finish());
  return check(state);
}

}  // namespace godwit::vmm::x86
