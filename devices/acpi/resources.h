// Resource templates: what a device's _CRS says of its ports, memory and interrupts. Source: ACPI
// 6.5, section 6.4 ("Resource Data Types for ACPI").
#pragma once
#include <cstdint>

#include "devices/acpi/aml.h"
#include "vmm/base/byte_io.h"
#include "vmm/base/types.h"

namespace godwit::devices::acpi {

// Each call adds a descriptor.
class Resources {
 public:
  // What a device uses.
  Resources& ports(uint64_t first, uint64_t count);  // below 64 Ki; at most 255
  Resources& isa_interrupt(uint32_t irq);            // 0 to 15; edge, active high
  Resources& memory(Gpa start, ByteCount size);      // below 4 GiB, read and write

  // What a bridge passes on to the devices behind it.
  Resources& bus_window(uint16_t first, uint16_t last);
  Resources& port_window(uint16_t first, uint16_t last);
  Resources& memory_window(Gpa start, ByteCount size);  // below 4 GiB, not prefetchable

  // The buffer that a _CRS is.
  [[nodiscard]] Aml finish();

 private:
  ByteWriter out_;
};

}  // namespace godwit::devices::acpi
