// The tables in the eyes of ACPICA's compiler: `iasl` (Debian's acpica-tools).
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "devices/acpi/dsdt.h"
#include "devices/acpi/fixed_tables.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::acpi {
namespace {

struct Said {
  int status = 0;
  std::string text;
};

class Iasl : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v iasl >/dev/null 2>&1") != 0) {  // NOLINT(concurrency-mt-unsafe)
      GTEST_SKIP() << "there is no iasl here (Debian's acpica-tools)";
    }
    std::string name = testing::TempDir() + "godwit-acpi-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  // In a folder of its own, with both output streams.
  [[nodiscard]] Said iasl(const std::string& arguments) const {
    const std::string command = "cd '" + folder_.string() + "' && iasl " + arguments + " 2>&1";
    Said said;
    FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return {-1, "popen"};
    std::array<char, 4096> part{};
    for (size_t n = 0; (n = std::fread(part.data(), 1, part.size(), pipe)) > 0;) {
      said.text.append(part.data(), n);
    }
    said.status = ::pclose(pipe);
    return said;
  }
  void write(const std::string& name, const Table& table) const {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(table.data()),
               static_cast<std::streamsize>(table.size()));
  }
  // Taken apart without a complaint.
  void expect_readable(const std::string& name, const Table& table) const {
    write(name + ".dat", table);
    const Said said = iasl("-d " + name + ".dat");
    EXPECT_EQ(said.status, 0) << said.text;
    for (const char* complaint : {"rror", "arning", "nvalid", "ncorrect", "nknown"}) {
      EXPECT_EQ(said.text.find(complaint), std::string::npos) << name << ": " << said.text;
    }
    std::ifstream text(folder_ / (name + ".dsl"));
    const std::string listing{std::istreambuf_iterator<char>(text), {}};
    for (const char* complaint : {"Incorrect checksum", "/* Invalid", "Unknown", "truncated"}) {
      EXPECT_EQ(listing.find(complaint), std::string::npos) << listing;
    }
  }
  std::filesystem::path folder_;
};

TEST_F(Iasl, ReadsEveryTableButTheRsdpWhichItDoesNotKnow) {
  expect_readable("facp", fadt(vmm::kAcpiTables, vmm::kAcpiTables));
  expect_readable("facs", facs());
  expect_readable("apic", madt(64));
  expect_readable("mcfg", mcfg());
  expect_readable("xsdt", xsdt(std::array{vmm::kAcpiTables, vmm::kAcpiTables}));
}

TEST_F(Iasl, CompilesTheDsdtThatItTookApartToTheSameBytes) {
  for (const FirmwareConfig config : {FirmwareConfig{1, false}, FirmwareConfig{64, true}}) {
    const Table table = dsdt(config);
    expect_readable("dsdt", table);
    const Said said = iasl("-oa -we -p again dsdt.dsl");
    EXPECT_EQ(said.status, 0) << said.text;
    EXPECT_NE(said.text.find("0 Errors, 0 Warnings, 0 Remarks"), std::string::npos) << said.text;
    std::ifstream file(folder_ / "again.aml", std::ios::binary);
    const std::string again{std::istreambuf_iterator<char>(file), {}};
    ASSERT_EQ(again.size(), table.size());
    // iasl puts itself down as the creator, and has another checksum then.
    const auto* bytes = reinterpret_cast<const char*>(table.data());
    EXPECT_EQ(again.substr(kTableHeaderSize),
              std::string(bytes + kTableHeaderSize, table.size() - kTableHeaderSize));
  }
}

}  // namespace
}  // namespace godwit::devices::acpi
