// The tables that are no AML. Each function returns a whole table with its checksum.
#pragma once
#include <cstdint>
#include <span>

#include "devices/acpi/table.h"
#include "vmm/base/types.h"

namespace godwit::devices::acpi {

inline constexpr size_t kRsdpSize = 36;
inline constexpr size_t kFacsSize = 64;
inline constexpr uint64_t kFacsAlignment = 64;

// ACPI 6.5, 5.2.5.3: revision 2. `xsdt` is below 4 GiB, as all addresses here; there is no RSDT.
Table rsdp(Gpa xsdt);
// 5.2.8.
Table xsdt(std::span<const Gpa> tables);
// 5.2.9: the full hardware model on the ports of devices/acpi_ports.h, ACPI mode always on, the
// power button a fixed event.
Table fadt(Gpa facs, Gpa dsdt);
// 5.2.10: nothing sleeps and nobody shares the global lock.
Table facs();
// 5.2.12: the local APICs of vCPUs 0 to `vcpus` - 1, whose ids are their numbers (vmm/x86), and the
// IOAPIC. Interrupts of the ISA bus reach the IOAPIC's inputs of the same numbers, the PIT's 0 too:
// that is KVM's default routing (and not that of most PCs, which have it at 2).
Table madt(uint32_t vcpus);
// PCI Firmware Specification 3.3, 4.1.2: ECAM of bus 0 at vmm::kPciEcam.
Table mcfg();

}  // namespace godwit::devices::acpi
