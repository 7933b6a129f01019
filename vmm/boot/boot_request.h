// What a boot loader is asked to boot.
#pragma once
#include <optional>
#include <string>

#include "vmm/base/types.h"
#include "vmm/boot/image.h"

namespace godwit::vmm {

struct BootRequest {
  const Image& kernel;
  const Image* initrd = nullptr;  // none: nullptr
  std::string command_line;
  // Where the board put the ACPI RSDP; unset: the kernel is told of none.
  std::optional<Gpa> acpi_rsdp;
};

}  // namespace godwit::vmm
