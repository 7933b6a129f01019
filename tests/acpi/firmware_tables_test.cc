#include "devices/acpi/firmware_tables.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>

#include "devices/acpi/fixed_tables.h"
#include "devices/acpi_ports.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::acpi {
namespace {

// A machine's tables as an operating system finds them: from the RSDP on.
class Firmware {
 public:
  explicit Firmware(const FirmwareConfig& config)
      : bytes_(firmware_tables(config, vmm::kAcpiTables)) {
    const uint64_t xsdt = number<uint64_t>(vmm::kAcpiTables.value + 24);
    add(xsdt);
    for (uint64_t at = xsdt + kTableHeaderSize; at < xsdt + length(xsdt); at += 8) {
      add(number<uint64_t>(at));
    }
    add(number<uint64_t>(tables_.at("FACP") + 140));
    facs_ = number<uint32_t>(tables_.at("FACP") + 36);
  }
  template <class T>
  [[nodiscard]] T number(uint64_t at) const {
    T value{};
    std::memcpy(&value, &bytes_.at(at - vmm::kAcpiTables.value), sizeof value);
    (void)bytes_.at(at - vmm::kAcpiTables.value + sizeof value - 1);
    return value;
  }
  [[nodiscard]] uint32_t length(uint64_t table) const { return number<uint32_t>(table + 4); }
  [[nodiscard]] uint8_t sum(uint64_t at, uint64_t size) const {
    uint8_t total = 0;
    for (uint64_t i = 0; i < size; ++i)
      total = static_cast<uint8_t>(total + number<uint8_t>(at + i));
    return total;
  }
  [[nodiscard]] const std::map<std::string, uint64_t>& tables() const { return tables_; }
  [[nodiscard]] uint64_t table(const std::string& signature) const { return tables_.at(signature); }
  [[nodiscard]] uint64_t facs() const { return facs_; }
  [[nodiscard]] size_t size() const { return bytes_.size(); }

 private:
  void add(uint64_t at) {
    char signature[4];
    for (size_t i = 0; i < 4; ++i) signature[i] = static_cast<char>(number<uint8_t>(at + i));
    tables_[std::string(signature, 4)] = at;
  }
  std::vector<std::byte> bytes_;
  std::map<std::string, uint64_t> tables_;
  uint64_t facs_ = 0;
};

TEST(FirmwareTables, EachChecksumIsRightAndEachTableInItsPlace) {
  for (const uint32_t vcpus : {1u, 2u, 64u, 255u}) {
    for (const bool pci : {false, true}) {
      const Firmware firmware({vcpus, pci});
      EXPECT_LE(firmware.size(), vmm::kAcpiTablesSpace.value);
      EXPECT_EQ(firmware.tables().size(), pci ? 5u : 4u);
      for (const auto& [signature, at] : firmware.tables()) {
        EXPECT_EQ(firmware.sum(at, firmware.length(at)), 0) << signature;
        EXPECT_GE(at, vmm::kAcpiTables.value + kRsdpSize) << signature;
        EXPECT_LE(at + firmware.length(at), vmm::kAcpiTables.value + firmware.size()) << signature;
      }
    }
  }
}

TEST(FirmwareTables, TheRsdpHasBothChecksums) {
  const Firmware firmware({2, true});
  const uint64_t rsdp = vmm::kAcpiTables.value;
  EXPECT_EQ(firmware.number<uint64_t>(rsdp), 0x2052545020445352u);  // "RSD PTR "
  EXPECT_EQ(firmware.sum(rsdp, 20), 0);
  EXPECT_EQ(firmware.sum(rsdp, kRsdpSize), 0);
  EXPECT_EQ(firmware.number<uint8_t>(rsdp + 15), 2u);
}

TEST(FirmwareTables, AreTheSameEveryTime) {
  EXPECT_EQ(firmware_tables({3, true}, vmm::kAcpiTables),
            firmware_tables({3, true}, vmm::kAcpiTables));
}

// Offsets: ACPI 6.5, table 5.9.
TEST(Fadt, NamesTheFixedHardware) {
  const Firmware firmware({1, false});
  const uint64_t fadt = firmware.table("FACP");
  EXPECT_EQ(firmware.length(fadt), 276u);
  EXPECT_EQ(firmware.number<uint8_t>(fadt + 8), 6u);
  EXPECT_EQ(firmware.number<uint8_t>(fadt + 131), 5u);
  EXPECT_EQ(firmware.number<uint64_t>(fadt + 132), 0u) << "X_FIRMWARE_CTRL beside FIRMWARE_CTRL";
  EXPECT_EQ(firmware.number<uint32_t>(fadt + 40), firmware.table("DSDT"));
  EXPECT_EQ(firmware.number<uint16_t>(fadt + 46), kSciGsi);
  EXPECT_EQ(firmware.number<uint32_t>(fadt + 48), 0u) << "SMI_CMD";
  EXPECT_EQ(firmware.number<uint32_t>(fadt + 56), 0x600u) << "PM1a_EVT_BLK";
  EXPECT_EQ(firmware.number<uint32_t>(fadt + 64), 0x604u) << "PM1a_CNT_BLK";
  EXPECT_EQ(firmware.number<uint8_t>(fadt + 88), 4u) << "PM1_EVT_LEN";
  EXPECT_EQ(firmware.number<uint8_t>(fadt + 89), 2u) << "PM1_CNT_LEN";
  EXPECT_EQ(firmware.number<uint8_t>(fadt + 108), 0x32u) << "CENTURY";
  EXPECT_EQ(firmware.number<uint32_t>(fadt + 112), 0x465u) << "flags";
  EXPECT_EQ(firmware.number<uint32_t>(fadt + 116), 0x01000801u) << "RESET_REG: a byte";
  EXPECT_EQ(firmware.number<uint64_t>(fadt + 120), 0x60eu);
  EXPECT_EQ(firmware.number<uint8_t>(fadt + 128), kResetValue);
  EXPECT_EQ(firmware.number<uint64_t>(fadt + 148), (uint64_t{0x600} << 32) + 0x02002001u);
  EXPECT_EQ(firmware.number<uint64_t>(fadt + 172), (uint64_t{0x604} << 32) + 0x02001001u);
}

TEST(Facs, IsAlignedAndOfItsLength) {
  const Firmware firmware({64, true});
  EXPECT_EQ(firmware.facs() % 64, 0u);
  EXPECT_EQ(firmware.number<uint32_t>(firmware.facs()), 0x53434146u);
  EXPECT_EQ(firmware.length(firmware.facs()), 64u);
}

TEST(Madt, HasEveryVcpuAndTheInterruptsAsKvmRoutesThem) {
  const Table table = madt(2);
  constexpr unsigned kExpected[] = {
      0x00, 0x00, 0xe0, 0xfe, 1,    0,    0,    0,                    // local APICs, 8259s
      0,    8,    0,    0,    1,    0,    0,    0,                    // vCPU 0
      0,    8,    1,    1,    1,    0,    0,    0,                    // vCPU 1
      1,    12,   0,    0,    0x00, 0x00, 0xc0, 0xfe, 0,    0, 0, 0,  // IOAPIC
      2,    10,   0,    9,    9,    0,    0,    0,    0x0d, 0,        // SCI: level, active high
      4,    6,    0xff, 0,    0,    1,                                // NMI at LINT1
  };
  ASSERT_EQ(table.size(), kTableHeaderSize + std::size(kExpected));
  for (size_t i = 0; i < std::size(kExpected); ++i) {
    EXPECT_EQ(std::to_integer<unsigned>(table[kTableHeaderSize + i]), kExpected[i]) << i;
  }
}

TEST(Mcfg, IsBusZero) {
  const Firmware firmware({1, true});
  const uint64_t table = firmware.table("MCFG");
  EXPECT_EQ(firmware.length(table), 60u);
  EXPECT_EQ(firmware.number<uint64_t>(table + 44), vmm::kPciEcam.value);
  EXPECT_EQ(firmware.number<uint64_t>(table + 52), 0u);
  EXPECT_EQ(Firmware({1, false}).tables().count("MCFG"), 0u);
}

}  // namespace
}  // namespace godwit::devices::acpi
