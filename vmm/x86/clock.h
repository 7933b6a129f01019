// The guest's time: kvmclock of the VM and the TSC of each vCPU, carried on from host to host.
#pragma once
#include <linux/kvm.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "vmm/base/byte_io.h"
#include "vmm/base/clock.h"
#include "vmm/kvm/vm_fd.h"
#include "vmm/x86/capabilities.h"
#include "vmm/x86/vcpu_state.h"

namespace godwit::vmm::x86 {

inline constexpr const char* kClockSection = "x86-clock";
inline constexpr uint16_t kClockSectionVersion = 1;

struct ClockState {
  uint64_t clock_ns = 0;  // kvmclock
  uint32_t flags = 0;     // KVM_CLOCK_REALTIME, KVM_CLOCK_HOST_TSC: which of these two hold
  // The host's clocks at the same moment.
  uint64_t realtime_ns = 0;
  uint64_t host_tsc = 0;
  int64_t monotonic_ns = 0;  // a microsecond or so off: KVM does not read it
};

// This host's clocks, now.
struct HostClocks {
  uint64_t realtime_ns = 0;
  int64_t monotonic_ns = 0;
};
HostClocks host_clocks();

// Guest time does not leap by more than this for the time between save and load: a longer one, or
// a negative one, means clocks that cannot be compared, or a state that was kept in a file.
inline constexpr Nanoseconds kMaxElapsed = std::chrono::minutes(5);

// KVM_GET_CLOCK.
void read_state(const KvmVm& vm, ClockState& state);

// Time that passed between the saving of `state` and `here`: by CLOCK_MONOTONIC of both hosts where
// their offset (`here`'s host minus the other) is known, else by CLOCK_REALTIME. Zero when it is
// not known or not plausible (see kMaxElapsed).
Nanoseconds elapsed_since(const ClockState& state, const HostClocks& here,
                          std::optional<Nanoseconds> offset);

// The TSC offset for this host, by steps 5 and 6 of Documentation/virt/kvm/devices/vcpu.rst 4.1:
// at the moment of `there` the guest's TSC was host TSC + `offset`; it must be that much further at
// the moment of `here` as kvmclock is. All arithmetic modulo 2^64.
uint64_t moved_tsc_offset(uint64_t offset, const ClockState& there, const ClockState& here,
                          uint32_t tsc_khz);

// Sets kvmclock, then each vCPU's TSC, then each IA32_TSC_DEADLINE (compared with the guest's TSC
// at the moment of writing, so it must find the right one, and a LAPIC that is loaded already).
// Last of all loads. `vcpus` and `states` have the same order; `clock_offset` as Machine::load
// says.
Result<> write_time(const KvmVm& vm, std::span<const std::unique_ptr<KvmVcpu>> vcpus,
                    std::span<const VcpuState> states, const ClockState& saved,
                    std::optional<Nanoseconds> clock_offset, const Capabilities& caps,
                    uint32_t tsc_khz, bool tsc_offset);

// The section's payload: u64 clock_ns, u32 flags, u64 realtime_ns, u64 host_tsc, i64 monotonic_ns.
void encode(const ClockState& state, ByteWriter& out);
Result<> decode(std::span<const std::byte> payload, ClockState& state);

}  // namespace godwit::vmm::x86
