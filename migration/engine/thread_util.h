// Small things about the calling thread.
#pragma once
#include <cstdint>

#include "vmm/base/clock.h"

namespace godwit::migration {

// Names the calling thread "PREFIXindex" for top and perf (15 characters count).
void name_thread(const char* prefix, uint32_t index);
// CPU time of the calling thread since it began.
Nanoseconds thread_cpu_time();

}  // namespace godwit::migration
