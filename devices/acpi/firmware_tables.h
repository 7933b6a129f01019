// What firmware would tell an operating system: the ACPI tables of a machine, made from scratch.
// Source: ACPI specification 6.5; each builder names its section.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/base/types.h"

namespace godwit::devices::acpi {

struct FirmwareConfig {
  uint32_t vcpus = 1;  // 1 to 255
  bool pci = false;    // there is a PCI host bridge
};

// The tables for `at` (16-byte aligned, below 4 GiB), the RSDP first; at most
// vmm::kAcpiTablesSpace. The same bytes for the same arguments, wherever it runs.
std::vector<std::byte> firmware_tables(const FirmwareConfig& config, Gpa at);

}  // namespace godwit::devices::acpi
