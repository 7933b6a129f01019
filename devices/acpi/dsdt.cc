#include "devices/acpi/dsdt.h"

#include <fmt/core.h>

#include "devices/acpi/aml.h"
#include "devices/acpi/resources.h"
#include "devices/acpi_ports.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/rtc_cmos.h"
#include "devices/serial_16550.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::acpi {
namespace {

constexpr uint64_t kPciConfigAddress = 0xcf8;  // and the data port behind it
constexpr uint64_t kPciConfigPorts = 8;
// Above all fixed ports.
constexpr uint16_t kPciPortsFirst = 0x1000;
constexpr uint16_t kPciPortsLast = 0xffff;

// 7.4.2: the sleep types for PM1a and PM1b.
Aml soft_off() {
  return aml_name("\\_S5", aml_package({aml_integer(kSleepTypeS5), aml_integer(0), aml_integer(0),
                                        aml_integer(0)}));
}

// 8.4: ties a MADT entry to a place in the namespace.
Aml processor(uint32_t index) {
  return aml_device(fmt::format("C{:03X}", index), {aml_name("_HID", aml_string("ACPI0007")),
                                                    aml_name("_UID", aml_integer(index))});
}

Aml com1() {
  return aml_device(
      "COM1",
      {aml_name("_HID", aml_eisa_id("PNP0501")), aml_name("_UID", aml_integer(1)),
       aml_name("_CRS",
                Resources().ports(kCom1Port, kSerialPorts).isa_interrupt(kCom1Gsi).finish())});
}

Aml rtc() {
  return aml_device(
      "RTC_",
      {aml_name("_HID", aml_eisa_id("PNP0B00")),
       aml_name("_CRS", Resources().ports(kRtcPort, kRtcPorts).isa_interrupt(kRtcGsi).finish())});
}

// 6.1.5 and the PCI Firmware Specification 3.3, 4.1.2: ECAM is reserved by a motherboard resource.
Aml motherboard(bool pci) {
  Resources resources;
  resources.ports(kAcpiPort, kAcpiPorts)
      .ports(kSystemControlPort, 1)
      .ports(kDebugExitPort, kDebugExitPorts);
  if (pci) resources.memory(vmm::kPciEcam, vmm::kPciEcamSize);
  return aml_device("MBRD",
                    {aml_name("_HID", aml_eisa_id("PNP0C02")), aml_name("_UID", aml_integer(0)),
                     aml_name("_CRS", resources.finish())});
}

// One bus, one segment. No _PRT: its functions have message-signalled interrupts and no others.
Aml pci_host_bridge() {
  return aml_device(
      "PCI0", {aml_name("_HID", aml_eisa_id("PNP0A08")), aml_name("_CID", aml_eisa_id("PNP0A03")),
               aml_name("_UID", aml_integer(0)), aml_name("_SEG", aml_integer(0)),
               aml_name("_BBN", aml_integer(0)),
               aml_name("_CRS", Resources()
                                    .bus_window(0, 0)
                                    .ports(kPciConfigAddress, kPciConfigPorts)
                                    .port_window(kPciPortsFirst, kPciPortsLast)
                                    .memory_window(vmm::kPciWindow, vmm::kPciWindowSize)
                                    .finish())});
}

}  // namespace

Table dsdt(const FirmwareConfig& config) {
  constexpr uint8_t kRevision = 2;  // integers have 64 bits
  Aml bus;
  for (uint32_t i = 0; i < config.vcpus; ++i) append(bus, processor(i));
  append(bus, com1());
  append(bus, rtc());
  append(bus, motherboard(config.pci));
  if (config.pci) append(bus, pci_host_bridge());
  Aml body = soft_off();
  append(body, aml_scope("\\_SB", bus));
  return make_table("DSDT", kRevision, body);
}

}  // namespace godwit::devices::acpi
