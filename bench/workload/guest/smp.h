// Bringing up the other vCPUs.
#pragma once
#include <stdint.h>

namespace godwit::workload {

// Boot vCPU: INIT and SIPI to all others, which enter guest_main() one by one. Waits until
// `expected` vCPUs are there (or none has come for 5 s) or, when that is 0, until no new one has
// shown up for 200 ms. Returns how many run, itself included; one that comes later stays parked.
uint32_t start_other_cpus(uint64_t trampoline, uint64_t expected, uint64_t tsc_khz);

// Any other vCPU, on arrival.
void announce_cpu(uint32_t index);

}  // namespace godwit::workload
