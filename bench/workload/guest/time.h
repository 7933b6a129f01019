// The TSC's frequency and the LAPIC timer that ends a halt.
#pragma once
#include <stdint.h>

namespace godwit::workload {

struct TscFrequency {
  uint64_t khz = 0;
  const char* source = "";  // cmdline, cpuid, kvmclock, pit
};

// In this order: the command line's, the hypervisor's CPUID leaf 0x40000010, kvmclock's multiplier,
// the PIT (counted for 20 ms, three times). CPUID is read in ring 0, because ring 3 sees the host's
// where KVM is software-backed. khz is 0 if none works.
TscFrequency find_tsc_frequency(uint64_t from_command_line);

// One-shot LAPIC timer in TSC ticks.
class HaltTimer {
 public:
  HaltTimer() = default;
  // Measures the LAPIC timer against the TSC for 5 ms, on the calling vCPU; the figure serves all.
  static HaltTimer calibrate(uint64_t tsc_khz);
  [[nodiscard]] bool works() const { return lapic_per_tsc_fp_ != 0; }
  // Halts vCPU `index` until TSC `deadline` or any earlier interrupt; up to 4 s.
  void halt_until(uint32_t index, uint64_t deadline) const;

 private:
  uint64_t lapic_per_tsc_fp_ = 0;  // in 2^-32
};

}  // namespace godwit::workload
