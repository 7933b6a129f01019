#include "devices/acpi/fixed_tables.h"

#include "devices/acpi_ports.h"
#include "vmm/base/byte_io.h"
#include "vmm/base/check.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::acpi {
namespace {

constexpr uint32_t kLocalApic = 0xfee00000;

uint32_t below_4g(Gpa address) {
  GODWIT_CHECK(address.value <= UINT32_MAX, "an ACPI table above 4 GiB");
  return static_cast<uint32_t>(address.value);
}

// 5.2.3.2, Generic Address Structure: a register in port space.
struct PortRegister {
  uint64_t port = 0;
  uint8_t bits = 0;
  uint8_t access = 0;  // 1: bytes, 2: words
};
void put_address(ByteWriter& out, const PortRegister& place) {
  constexpr uint8_t kSystemIo = 1;
  out.u8(place.bits == 0 ? 0 : kSystemIo);
  out.u8(place.bits);
  out.u8(0);  // bit offset
  out.u8(place.access);
  out.u64(place.port);
}

constexpr uint64_t kPm1Event = kAcpiPort + kPm1StatusOffset;
constexpr uint64_t kPm1Control = kAcpiPort + kPm1ControlOffset;
constexpr uint8_t kPm1EventBytes = 4;
constexpr uint8_t kPm1ControlBytes = 2;

// Table 5.9, from the header's end to RESET_VALUE.
void put_fadt_1(ByteWriter& out, Gpa facs, Gpa dsdt) {
  constexpr uint16_t kNoC2 = 0x0fff, kNoC3 = 0x0fff;  // more than 100 and 1000 us
  // CMOS's place for the century is that of PCs.
  constexpr uint8_t kCentury = 0x32;
  // IAPC_BOOT_ARCH (table 5.11): devices on the ISA bus (COM1), no VGA, no ASPM. The 8042 is not
  // claimed: it has no keyboard and is there for resets.
  constexpr uint16_t kBootArch = 1 << 0 | 1 << 2 | 1 << 4;
  // Flags (table 5.10): WBINVD, PROC_C1, SLP_BUTTON (there is none), FIX_RTC (no fixed event for
  // it), RESET_REG_SUP. PWR_BUTTON is clear: it is a fixed event.
  constexpr uint32_t kFlags = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 10;
  out.u32(below_4g(facs));
  out.u32(below_4g(dsdt));
  out.u8(0);  // reserved
  out.u8(0);  // preferred power profile: unspecified
  out.u16(kSciGsi);
  out.u32(0);                                   // SMI_CMD: ACPI mode is always on
  for (int i = 0; i < 4; ++i) out.u8(0);        // ACPI_ENABLE to PSTATE_CNT: what to write there
  out.u32(static_cast<uint32_t>(kPm1Event));    // PM1a_EVT_BLK
  out.u32(0);                                   // PM1b_EVT_BLK
  out.u32(static_cast<uint32_t>(kPm1Control));  // PM1a_CNT_BLK
  for (int i = 0; i < 5; ++i) out.u32(0);       // PM1b_CNT, PM2_CNT, PM_TMR, GPE0, GPE1: none
  out.u8(kPm1EventBytes);
  out.u8(kPm1ControlBytes);
  for (int i = 0; i < 6; ++i) out.u8(0);  // lengths of those that are not, GPE1_BASE, CST_CNT
  out.u16(kNoC2);
  out.u16(kNoC3);
  out.u16(0), out.u16(0);  // FLUSH_SIZE, FLUSH_STRIDE: WBINVD works
  out.u8(0), out.u8(0);    // DUTY_OFFSET, DUTY_WIDTH: no throttling
  out.u8(0), out.u8(0);    // DAY_ALRM, MON_ALRM
  out.u8(kCentury);
  out.u16(kBootArch);
  out.u8(0);  // reserved
  out.u32(kFlags);
  put_address(out, {kAcpiPort + kResetOffset, 8, 1});
  out.u8(kResetValue);
}

// The rest of table 5.9: what revisions from 3 on have.
void put_fadt_2(ByteWriter& out, Gpa dsdt) {
  constexpr uint8_t kMinorVersion = 5;
  out.u16(0);  // ARM_BOOT_ARCH
  out.u8(kMinorVersion);
  out.u64(0);  // X_FIRMWARE_CTRL: FIRMWARE_CTRL has it
  out.u64(dsdt.value);
  put_address(out, {kPm1Event, 8 * kPm1EventBytes, 2});
  put_address(out, {});  // PM1b_EVT_BLK
  put_address(out, {kPm1Control, 8 * kPm1ControlBytes, 2});
  // PM1b_CNT, PM2_CNT, PM_TMR, GPE0, GPE1; SLEEP_CONTROL and SLEEP_STATUS are for hardware-reduced
  // ACPI.
  for (int i = 0; i < 7; ++i) put_address(out, {});
  out.u64(0);  // hypervisor vendor identity
}

}  // namespace

Table rsdp(Gpa xsdt) {
  constexpr uint8_t kRevision = 2;
  constexpr size_t kAcpi1Size = 20, kChecksumOffset = 8, kExtendedChecksumOffset = 32;
  ByteWriter out;
  constexpr std::string_view kSignature = "RSD PTR ";
  out.bytes(std::as_bytes(std::span(kSignature)));
  out.u8(0);  // checksum
  out.bytes(std::as_bytes(std::span(kOemId)));
  out.u8(kRevision);
  out.u32(0);  // no RSDT
  out.u32(kRsdpSize);
  out.u64(below_4g(xsdt));
  out.u32(0);  // extended checksum, reserved
  Table table = out.take();
  table[kChecksumOffset] = checksum_of(std::span(table).first(kAcpi1Size));
  table[kExtendedChecksumOffset] = checksum_of(table);
  return table;
}

Table xsdt(std::span<const Gpa> tables) {
  ByteWriter out;
  for (const Gpa table : tables) out.u64(table.value);
  return make_table("XSDT", 1, out.view());
}

Table fadt(Gpa facs, Gpa dsdt) {
  ByteWriter out;
  put_fadt_1(out, facs, dsdt);
  put_fadt_2(out, dsdt);
  return make_table("FACP", 6, out.view());
}

Table facs() {
  constexpr uint8_t kVersion = 2;
  ByteWriter out;
  constexpr std::string_view kSignature = "FACS";
  out.bytes(std::as_bytes(std::span(kSignature)));
  out.u32(kFacsSize);
  // Hardware signature, waking vector, global lock, flags, 64-bit waking vector.
  out.u32(0), out.u32(0), out.u32(0), out.u32(0), out.u64(0);
  out.u8(kVersion);
  while (out.size() < kFacsSize) out.u8(0);
  return out.take();
}

Table madt(uint32_t vcpus) {
  // 5.2.12.2, .3, .5, .7: the structures' types and lengths.
  constexpr uint8_t kProcessor[] = {0, 8}, kIoApic[] = {1, 12}, kOverride[] = {2, 10},
                    kLocalNmi[] = {4, 6};
  constexpr uint32_t kPcatCompatible = 1;  // there are two 8259 as well
  constexpr uint32_t kEnabled = 1;
  constexpr uint16_t kLevelActiveHigh = 3 << 2 | 1;  // table 5.26
  constexpr uint8_t kAllProcessors = 0xff;
  GODWIT_CHECK(vcpus <= UINT8_MAX, "a local APIC's id does not fit its field");
  ByteWriter out;
  const auto begin = [&out](const uint8_t(&head)[2]) { out.u8(head[0]), out.u8(head[1]); };
  out.u32(kLocalApic);
  out.u32(kPcatCompatible);
  for (uint32_t i = 0; i < vcpus; ++i) {
    begin(kProcessor);
    out.u8(static_cast<uint8_t>(i));  // the DSDT's _UID
    out.u8(static_cast<uint8_t>(i));
    out.u32(kEnabled);
  }
  begin(kIoApic);
  out.u8(0);  // id
  out.u8(0);  // reserved
  out.u32(static_cast<uint32_t>(vmm::kPlatformStart.value));
  out.u32(0);  // its first GSI
  begin(kOverride);
  out.u8(0);  // ISA
  out.u8(kSciGsi);
  out.u32(kSciGsi);
  out.u16(kLevelActiveHigh);
  begin(kLocalNmi);
  out.u8(kAllProcessors);
  out.u16(0);  // polarity and trigger mode of the bus
  out.u8(1);   // LINT1
  return make_table("APIC", 6, out.view());
}

Table mcfg() {
  ByteWriter out;
  out.u64(0);  // reserved
  out.u64(vmm::kPciEcam.value);
  out.u16(0);            // segment group
  out.u8(0), out.u8(0);  // first and last bus
  out.u32(0);            // reserved
  return make_table("MCFG", 1, out.view());
}

}  // namespace godwit::devices::acpi
