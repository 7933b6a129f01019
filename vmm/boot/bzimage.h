// Booting a Linux bzImage through the 64-bit boot protocol.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/boot/boot_entry.h"
#include "vmm/boot/boot_request.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm {

// What the setup header says (Documentation/arch/x86/boot.rst, "Details of header fields").
struct BzImageHeader {
  uint16_t version = 0;         // at least 0x020c (Linux 3.8)
  uint64_t payload_offset = 0;  // of the protected-mode kernel in the file
  uint64_t payload_size = 0;    // up to the file's end
  bool relocatable = false;
  bool can_be_above_4g = false;  // and its initrd
  uint32_t alignment = 1;        // a power of two; of a relocatable kernel
  uint64_t preferred_address = 0;
  uint64_t init_size = 0;  // memory from its address on that it needs until it reads the map
  uint64_t initrd_address_max = 0;  // the last byte that an initrd may occupy
  uint64_t command_line_limit = 0;  // without the NUL
  std::vector<std::byte> raw;       // from offset 0x1f1 on, what boot_params gets
};

// Errors: kUnsupported (too old, 32-bit, zImage), kCorrupt.
Result<BzImageHeader> parse_bzimage(const Image& kernel);

// Loads the protected-mode part at its preferred address (at 1 MiB or above) and writes boot_params
// with the setup header, the E820 map, initrd, command line and RSDP. The entry is the 64-bit one,
// 0x200 after the start. Contract and errors as load_kernel().
Result<BootEntry> load_bzimage(GuestMemory& memory, const BootRequest& request);

}  // namespace godwit::vmm
