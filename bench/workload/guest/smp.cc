#include "bench/workload/guest/smp.h"

#include "bench/workload/guest/hardware.h"
#include "bench/workload/guest/worker.h"

namespace godwit::workload {
namespace {

// SDM volume 3, 11.6.1: all excluding self; INIT asserted, start-up.
constexpr uint32_t kInit = 0xc4500;
constexpr uint32_t kStartUp = 0xc4600;
constexpr uint64_t kExpectedWaitMs = 5'000;
constexpr uint64_t kQuietMs = 200;

void spin_ms(uint64_t ms, uint64_t tsc_khz) {
  const uint64_t start = rdtsc();
  while (rdtsc() - start < ms * tsc_khz) pause();
}

// vCPUs 0 to n-1 that are there without a hole.
uint32_t count_present() {
  uint32_t n = 1;
  while (n < GUEST_MAX_CPUS && __atomic_load_n(&shared.present[n], __ATOMIC_ACQUIRE) != 0) ++n;
  return n;
}

}  // namespace

uint32_t start_other_cpus(uint64_t trampoline, uint64_t expected, uint64_t tsc_khz) {
  if (expected == 1) return 1;
  __builtin_memcpy(reinterpret_cast<void*>(trampoline), guest_trampoline,
                   static_cast<size_t>(guest_trampoline_end - guest_trampoline));
  *lapic(kLapicIcrLow) = kInit;
  spin_ms(10, tsc_khz);
  // Twice, as SDM volume 3, 9.4.4 has it; the second is ignored by those that run.
  *lapic(kLapicIcrLow) = kStartUp | static_cast<uint32_t>(trampoline >> 12);
  spin_ms(1, tsc_khz);
  *lapic(kLapicIcrLow) = kStartUp | static_cast<uint32_t>(trampoline >> 12);
  uint32_t present = 1;
  uint64_t last_news = rdtsc();
  while (expected == 0 || present < expected) {
    const uint64_t now = rdtsc();
    const uint32_t count = count_present();
    if (count != present) last_news = now;
    present = count;
    if (now - last_news > (expected == 0 ? kQuietMs : kExpectedWaitMs) * tsc_khz) break;
    pause();
  }
  return present;
}

void announce_cpu(uint32_t index) {
  __atomic_store_n(&shared.present[index], 1U, __ATOMIC_RELEASE);
}

}  // namespace godwit::workload
