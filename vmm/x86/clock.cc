#include "vmm/x86/clock.h"

#include <chrono>

#include "vmm/base/clock.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/x86/tsc.h"

namespace godwit::vmm::x86 {
namespace {

constexpr uint32_t kTravellingFlags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
constexpr uint64_t kNsPerMs = 1'000'000;  // TSC ticks per ns = kHz / 1e6

uint64_t ticks(uint64_t ns, uint32_t khz) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(ns) * khz / kNsPerMs);
}

Result<> set_kvmclock(const KvmVm& vm, const ClockState& saved, std::optional<Nanoseconds> offset,
                      const Capabilities& caps) {
  kvm_clock_data data{};
  data.clock = saved.clock_ns;
  const HostClocks here = host_clocks();
  const auto passed = static_cast<uint64_t>(elapsed_since(saved, here, offset).count());
  if (passed > 0 && (caps.clock_flags & KVM_CLOCK_REALTIME) != 0) {
    // KVM adds what has passed since then, at the very moment at which it sets the clock.
    data.flags = KVM_CLOCK_REALTIME;
    data.realtime = here.realtime_ns - passed;
  } else {
    data.clock += passed;
  }
  const int result = try_ioctl(vm.fd(), KVM_SET_CLOCK, &data);
  if (result < 0) return error_from_errno(-result, "KVM refuses the saved clock");
  return {};
}

Result<> set_tsc(const KvmVcpu& vcpu, const VcpuState& state, const ClockState& saved,
                 const ClockState& here, uint64_t passed_ns, uint32_t tsc_khz, bool tsc_offset) {
  if (tsc_offset && (saved.flags & here.flags & KVM_CLOCK_HOST_TSC) != 0) {
    const int result =
        set_tsc_offset(vcpu, moved_tsc_offset(state.tsc_offset, saved, here, tsc_khz));
    if (result >= 0) return {};
    return error_from_errno(-result,
                            fmt::format("KVM refuses the TSC offset of vCPU {}", vcpu.index()));
  }
  // KVM takes writes that are within a second of one another for the same moment, so that the
  // vCPUs stay in step (kvm_synchronize_tsc, arch/x86/kvm/x86.c).
  if (set_msr(vcpu, kMsrTsc, state.tsc + ticks(passed_ns, tsc_khz))) return {};
  return make_error(Errc::kIncompatible, "KVM refuses the TSC of vCPU {}", vcpu.index());
}

}  // namespace

HostClocks host_clocks() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return {
      .realtime_ns =
          static_cast<uint64_t>(std::chrono::duration_cast<Nanoseconds>(since_epoch).count()),
      .monotonic_ns = now().time_since_epoch().count(),
  };
}

void read_state(const KvmVm& vm, ClockState& state) {
  kvm_clock_data data{};
  const HostClocks before = host_clocks();
  GODWIT_IOCTL(vm.fd(), KVM_GET_CLOCK, &data);
  const HostClocks after = host_clocks();
  state.clock_ns = data.clock;
  state.flags = data.flags & kTravellingFlags;
  state.realtime_ns = data.realtime;
  state.host_tsc = data.host_tsc;
  state.monotonic_ns = before.monotonic_ns + (after.monotonic_ns - before.monotonic_ns) / 2;
  if ((state.flags & KVM_CLOCK_REALTIME) == 0) {
    state.realtime_ns = after.realtime_ns;
    state.flags |= KVM_CLOCK_REALTIME;
  }
}

Nanoseconds elapsed_since(const ClockState& state, const HostClocks& here,
                          std::optional<Nanoseconds> offset) {
  if (!offset && (state.flags & KVM_CLOCK_REALTIME) == 0) return Nanoseconds{0};
  // Three of the numbers come from a peer: nothing here may overflow.
  using Wide = __int128;
  const Wide passed = offset ? Wide{here.monotonic_ns} - state.monotonic_ns - offset->count()
                             : Wide{here.realtime_ns} - state.realtime_ns;
  if (passed < 0 || passed > kMaxElapsed.count()) return Nanoseconds{0};
  return Nanoseconds(static_cast<Nanoseconds::rep>(passed));
}

uint64_t moved_tsc_offset(uint64_t offset, const ClockState& there, const ClockState& here,
                          uint32_t tsc_khz) {
  // ofs_dst = ofs_src - (guest_src - guest_dest) * freq + (tsc_src - tsc_dest)
  const bool forward = here.clock_ns >= there.clock_ns;
  const uint64_t ns = forward ? here.clock_ns - there.clock_ns : there.clock_ns - here.clock_ns;
  const uint64_t guest_ticks = ticks(ns, tsc_khz);
  return offset + (forward ? guest_ticks : 0 - guest_ticks) + (there.host_tsc - here.host_tsc);
}

Result<> write_time(const KvmVm& vm, std::span<const std::unique_ptr<KvmVcpu>> vcpus,
                    std::span<const VcpuState> states, const ClockState& saved,
                    std::optional<Nanoseconds> clock_offset, const Capabilities& caps,
                    uint32_t tsc_khz, bool tsc_offset) {
  GODWIT_TRY(set_kvmclock(vm, saved, clock_offset, caps));
  ClockState here;
  read_state(vm, here);
  const auto passed = static_cast<uint64_t>(
      elapsed_since(saved, {here.realtime_ns, here.monotonic_ns}, clock_offset).count());
  for (size_t i = 0; i < vcpus.size(); ++i) {
    GODWIT_TRY(set_tsc(*vcpus[i], states[i], saved, here, passed, tsc_khz, tsc_offset));
  }
  for (size_t i = 0; i < vcpus.size(); ++i) {
    if (states[i].tsc_deadline == 0 && !caps.tsc_deadline_timer) continue;
    if (set_msr(*vcpus[i], kMsrTscDeadline, states[i].tsc_deadline)) continue;
    return make_error(Errc::kIncompatible, "KVM refuses the TSC deadline of vCPU {}", i);
  }
  return {};
}

void encode(const ClockState& state, ByteWriter& out) {
  out.u64(state.clock_ns);
  out.u32(state.flags);
  out.u64(state.realtime_ns);
  out.u64(state.host_tsc);
  out.i64(state.monotonic_ns);
}

Result<> decode(std::span<const std::byte> payload, ClockState& state) {
  ByteReader in(payload, "clock state");
  state.clock_ns = in.u64();
  state.flags = in.u32();
  state.realtime_ns = in.u64();
  state.host_tsc = in.u64();
  state.monotonic_ns = in.i64();
  GODWIT_TRY(in.finish());
  if ((state.flags & ~kTravellingFlags) != 0) {
    return make_error(Errc::kCorrupt, "clock state: flags {:#x} are unknown", state.flags);
  }
  return {};
}

}  // namespace godwit::vmm::x86
