// Loading a kernel: the one door to the boot loaders.
#pragma once
#include "vmm/base/error.h"
#include "vmm/boot/boot_entry.h"
#include "vmm/boot/boot_request.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm {

// Puts the kernel, its initrd and command line and the structures that its boot protocol wants into
// guest memory (boot_layout.h) and says where the boot vCPU starts. The format is found by content:
// an ELF with a PVH note (pvh.h), a bzImage (bzimage.h).
//
// `memory` must be fresh: what a kernel expects to be zero (its BSS) is left untouched. Everything
// is checked before the first byte is written, so after an error memory is still fresh, unless the
// image itself could not be read to its end.
// Errors (kInvalidArgument, kCorrupt, kUnsupported, kIo): each says what the file is, what is wrong
// with which numbers, and what to do.
Result<BootEntry> load_kernel(GuestMemory& memory, const BootRequest& request);

}  // namespace godwit::vmm
