// Where the parts of a boot go, common to all boot protocols.
#pragma once
#include <optional>
#include <span>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/base/types.h"
#include "vmm/boot/image.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm {

// A stretch of guest memory that is taken: [start, end).
struct Extent {
  Gpa start;
  Gpa end;
};

// Errors unless [start, start + size) is RAM of one region in which a kernel may lie (see
// boot_layout.h). `what` names it: "the kernel's segment 2".
Result<Extent> check_kernel_extent(const GuestMemory& memory, Gpa start, uint64_t size,
                                   std::string_view what);

// Errors: longer than `limit` bytes (NUL not counted), or a NUL within.
Result<> check_command_line(std::string_view command_line, uint64_t limit);
// Writes it with its NUL to kCommandLine; it was checked.
Result<> write_command_line(GuestMemory& memory, std::string_view command_line);

// The highest page-aligned place in RAM above 1 MiB and below `end` (exclusive) that holds `size`
// bytes and touches none of `taken`; nothing when there is none.
std::optional<Gpa> find_place_below(const GuestMemory& memory, Gpa end, uint64_t size,
                                    std::span<const Extent> taken);

// The error of an initrd for which there is no place below `end`.
Error initrd_does_not_fit(const GuestMemory& memory, const Image& initrd, Gpa end,
                          std::span<const Extent> kernel);

}  // namespace godwit::vmm
