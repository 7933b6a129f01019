#include "bench/workload/guest/time.h"

#include "bench/workload/guest/hardware.h"

namespace godwit::workload {
namespace {

constexpr uint32_t kHypervisorLeaf = 0x40000000;
constexpr uint32_t kKvmFeaturesLeaf = 0x40000001;
constexpr uint32_t kTimingLeaf = 0x40000010;
constexpr uint32_t kKvmClockSource2 = 1U << 3;
constexpr uint32_t kMsrKvmSystemTime = 0x4b564d01;

// Linux: Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW.
struct alignas(64) PvClock {
  uint32_t version;
  uint32_t pad0;
  uint64_t tsc_timestamp;
  uint64_t system_time;
  uint32_t tsc_to_system_mul;
  uint8_t tsc_shift;  // signed
  uint8_t flags;
  uint8_t pad[2];
};
PvClock pv_clock;

bool has_hypervisor() {
  uint32_t r[4];
  cpuid(1, r);
  return (r[2] >> 31) != 0;
}

uint64_t from_timing_leaf() {
  uint32_t r[4];
  cpuid(kHypervisorLeaf, r);
  if (r[0] < kTimingLeaf || r[0] > kHypervisorLeaf + 0xffff) return 0;
  cpuid(kTimingLeaf, r);
  return r[0];
}

uint64_t from_kvmclock() {
  uint32_t r[4];
  cpuid(kHypervisorLeaf, r);
  if (r[1] != 0x4b4d564b || r[2] != 0x564b4d56 || r[3] != 0x4d) return 0;  // "KVMKVMKVM"
  cpuid(kKvmFeaturesLeaf, r);
  if ((r[0] & kKvmClockSource2) == 0) return 0;
  wrmsr(kMsrKvmSystemTime, reinterpret_cast<uint64_t>(&pv_clock) | 1);
  const uint32_t mul = __atomic_load_n(&pv_clock.tsc_to_system_mul, __ATOMIC_ACQUIRE);
  const uint8_t raw_shift = pv_clock.tsc_shift;
  const int shift = raw_shift < 128 ? raw_shift : raw_shift - 256;
  wrmsr(kMsrKvmSystemTime, 0);
  if (mul == 0 || shift < -31 || shift > 31) return 0;
  const uint64_t khz = (uint64_t{1000000} << 32) / mul;
  return shift < 0 ? khz << -shift : khz >> shift;
}

// Channel 0 counts down from 65535 in mode 0 (Intel 8254 datasheet); returns the latched count.
// Channel 2 would do as well, but needs port 0x61, which not every machine with a PIT has.
uint32_t pit_count() {
  out8(0x43, 0x00);
  const uint32_t low = in8(0x40);
  return low | uint32_t{in8(0x40)} << 8;
}

struct PitSample {
  uint64_t tsc = 0;  // half-way through the reading
  uint32_t count = 0;
};

// Of some readings the one that took least time: the vCPU may lose its CPU in the middle of one.
PitSample sample_pit() {
  PitSample best;
  uint64_t best_width = ~uint64_t{0};
  for (int i = 0; i < 8; ++i) {
    const uint64_t before = rdtsc();
    const uint32_t count = pit_count();
    const uint64_t width = rdtsc() - before;
    if (width < best_width) best = {before + width / 2, count};
    if (width < best_width) best_width = width;
  }
  return best;
}

uint64_t from_pit_once() {
  constexpr uint64_t kPitHz = 1193182;
  constexpr uint32_t kWanted = 20 * kPitHz / 1000;
  constexpr uint64_t kPatience = 1'000'000'000;  // TSC ticks
  out8(0x43, 0x30);
  out8(0x40, 0xff);
  out8(0x40, 0xff);
  const PitSample first = sample_pit();
  while (pit_count() + kWanted > first.count) {
    if (rdtsc() - first.tsc > kPatience) return 0;  // no PIT
  }
  const PitSample last = sample_pit();
  if (last.count >= first.count) return 0;  // wrapped
  return (last.tsc - first.tsc) * kPitHz / 1000 / (first.count - last.count);
}

// The lowest of three: being held up for longer than a whole count makes the figure too high.
uint64_t from_pit() {
  uint64_t lowest = 0;
  for (int i = 0; i < 3; ++i) {
    const uint64_t khz = from_pit_once();
    if (khz != 0 && (lowest == 0 || khz < lowest)) lowest = khz;
  }
  return lowest;
}

}  // namespace

TscFrequency find_tsc_frequency(uint64_t from_command_line) {
  if (from_command_line != 0) return {from_command_line, "cmdline"};
  if (has_hypervisor()) {
    if (const uint64_t khz = from_timing_leaf(); khz != 0) return {khz, "cpuid"};
    if (const uint64_t khz = from_kvmclock(); khz != 0) return {khz, "kvmclock"};
  }
  return {from_pit(), "pit"};
}

HaltTimer HaltTimer::calibrate(uint64_t tsc_khz) {
  *lapic(kLapicTimerInitial) = 0xffffffff;
  const uint64_t start = rdtsc();
  const uint32_t first = *lapic(kLapicTimerCurrent);
  while (rdtsc() - start < 5 * tsc_khz) pause();
  const uint64_t ticks = rdtsc() - start;
  const uint32_t elapsed = first - *lapic(kLapicTimerCurrent);
  *lapic(kLapicTimerInitial) = 0;
  HaltTimer timer;
  timer.lapic_per_tsc_fp_ = (uint64_t{elapsed} << 32) / ticks;
  return timer;
}

void HaltTimer::halt_until(uint32_t index, uint64_t deadline) const {
  const uint32_t count = interrupt_count(index);
  const uint64_t now = rdtsc();
  if (static_cast<int64_t>(deadline - now) <= 0) return;
  const auto wide = static_cast<unsigned __int128>(deadline - now) * lapic_per_tsc_fp_;
  const auto ticks = static_cast<uint64_t>(wide >> 32);
  *lapic(kLapicLvtTimer) = GUEST_VECTOR_TIMER;
  *lapic(kLapicTimerInitial) = ticks == 0 ? 1 : ticks > 0xffffffff ? 0xffffffff : ticks;
  halt_unless_interrupted(count);
}

}  // namespace godwit::workload
