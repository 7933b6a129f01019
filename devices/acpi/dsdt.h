// The differentiated system description table: the devices that nobody can discover.
#pragma once
#include "devices/acpi/firmware_tables.h"
#include "devices/acpi/table.h"

namespace godwit::devices::acpi {

// ACPI 6.5, 5.2.11.1. \_S5; under \_SB the processors, COM1, the RTC, what else occupies ports, and
// with PCI the host bridge.
Table dsdt(const FirmwareConfig& config);

}  // namespace godwit::devices::acpi
