// How much memory this host could still give a guest.
#pragma once
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/base/types.h"

namespace godwit::vmm {

// MemAvailable and SwapFree together, of the text of /proc/meminfo (proc(5)): what a new program
// can have without another one being killed for it. An estimate, and of the whole host: a cgroup's
// limit may be lower. Errors (kUnsupported): MemAvailable is not there.
Result<ByteCount> available_memory(std::string_view meminfo);

// The same of this host, now.
Result<ByteCount> available_memory();

}  // namespace godwit::vmm
