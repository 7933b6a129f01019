// Everything that a vCPU holds beside guest memory.
#pragma once
#include <linux/kvm.h>

#include <cstdint>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/x86/capabilities.h"
#include "vmm/x86/msrs.h"

namespace godwit::vmm::x86 {

inline constexpr const char* kVcpuSection = "x86-vcpu";
inline constexpr uint16_t kVcpuSectionVersion = 1;

// One object per vCPU is kept and used again: saving and loading allocate nothing.
struct VcpuState {
  // `msrs` is the profile's list, `xsave_bytes` what KVM here reads and writes (at least 4096).
  VcpuState(std::span<const uint32_t> msrs, uint32_t xsave_bytes);

  kvm_mp_state mp_state{};
  kvm_regs regs{};
  kvm_sregs2 sregs{};
  kvm_debugregs debug{};
  kvm_vcpu_events events{};
  kvm_xcrs xcrs{};
  kvm_lapic_state lapic{};
  std::vector<std::byte> xsave;
  size_t sent_xsave_bytes;  // of it that travel: the components that the guest can use lie in them
  MsrBlock msrs;
  uint64_t tsc = 0;         // IA32_TSC when saved: for hosts without TSC offset
  uint64_t tsc_offset = 0;  // guest TSC = host TSC (scaled) + this
  uint64_t tsc_deadline = 0;
};

// Reads the state of a vCPU that does not run and whose last exit is completed. Failing calls throw
// std::system_error.
void read_state(const KvmVcpu& vcpu, const Capabilities& caps, bool tsc_offset, VcpuState& state);

// Writes everything except what depends on time (TSC, IA32_TSC_DEADLINE: see clock.h). Errors:
// what KVM refuses, by name.
Result<> write_state(const KvmVcpu& vcpu, const Capabilities& caps, VcpuState& state);

// The section's payload; byte table in vcpu_state_codec.cc.
void encode(VcpuState& state, ByteWriter& out);
// `state` fixes the MSR list and the room for extended state. Errors: kCorrupt.
Result<> decode(std::span<const std::byte> payload, VcpuState& state);

}  // namespace godwit::vmm::x86
