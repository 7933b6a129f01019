// One number for the whole of guest memory.
#pragma once
#include <cstdint>

#include "vmm/base/clock.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::migration {

// The sum of XXH3-64 over each page that is not all zero, seeded with its number: the same on both
// sides whichever zero pages each of them has touched. Reads touched pages only. For a guest that
// stands still. The pages of `as_zero` count as if they were zero.
uint64_t memory_hash(const vmm::GuestMemory& memory, const vmm::DirtyBitmap* as_zero = nullptr);

// How long that will take, from hashing a sample of it. The guest may run.
Nanoseconds estimate_memory_hash(const vmm::GuestMemory& memory);

}  // namespace godwit::migration
