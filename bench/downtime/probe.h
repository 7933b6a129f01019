// What is read from outside of the VMMs: the guest's own report, and CPU time from /proc.
#pragma once
#include <sys/types.h>

#include "bench/downtime/cases.h"
#include "bench/downtime/run.h"
#include "bench/serial_client.h"

namespace godwit::bench {

// A guest's report at one moment; taking it resets the gap.
struct GuestSample {
  double uptime_ms = 0;
  double pages = 0;   // written since the start
  double gap_ms = 0;  // the largest since the last `g`, serial accesses included
};
Result<GuestSample> sample_guest(SerialClient& serial,
                                 Nanoseconds patience = std::chrono::seconds(30));
// A full check of its memory; kCorrupt says what is wrong.
Result<void> check_guest(SerialClient& serial);

// Waits until the guest is at work, measures its undisturbed rate, and resets its largest gap.
struct GuestBefore {
  GuestSample sample;
  double pages_per_ms = 0;
};
Result<GuestBefore> settle_guest(SerialClient& serial, const Case& c);

// Guest gap and brownout from samples around a migration that took figures.total_ms.
void fill_guest_figures(const GuestBefore& before, const GuestSample& after, const Case& c,
                        RunFigures& figures);

// CPU time of a process without its vCPU threads ("vcpu0", "CPU 0/KVM"), in seconds; of a process
// that is going, what can still be seen.
struct CpuSample {
  double process_s = 0;
  double vcpus_s = 0;
  bool has_vcpus = false;
  [[nodiscard]] double vmm_s() const { return process_s - vcpus_s; }
};
CpuSample sample_cpu(pid_t pid, Nanoseconds process_time);

}  // namespace godwit::bench
