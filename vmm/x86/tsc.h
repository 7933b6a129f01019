// A vCPU's time-stamp counter.
#pragma once
#include <cstdint>

#include "vmm/kvm/vcpu.h"
#include "vmm/x86/capabilities.h"

namespace godwit::vmm::x86 {

struct VcpuState;

// Whether KVM here really keeps a TSC offset per vCPU (KVM_VCPU_TSC_OFFSET,
// Documentation/virt/kvm/devices/vcpu.rst 4.1). Software-backed KVMs accept a write and forget it,
// so it is written and read back. Only on a vCPU that has never run.
bool probe_tsc_offset(const KvmVcpu& vcpu, const Capabilities& caps);

// KVM_GET_TSC_KHZ.
uint32_t tsc_khz(const KvmVcpu& vcpu);
// KVM_SET_TSC_KHZ, when it differs. 0 or -errno; after a refusal the old value is set again,
// because KVM_GET_TSC_KHZ would report the refused one.
int set_tsc_khz(const KvmVcpu& vcpu, uint32_t khz);

// Fills tsc, tsc_offset and tsc_deadline.
void read_tsc(const KvmVcpu& vcpu, bool tsc_offset, VcpuState& state);
// 0 or -errno.
int set_tsc_offset(const KvmVcpu& vcpu, uint64_t offset);
// One MSR; false when KVM refuses it.
bool set_msr(const KvmVcpu& vcpu, uint32_t index, uint64_t value);

}  // namespace godwit::vmm::x86
