#include "devices/acpi/firmware_tables.h"

#include "devices/acpi/dsdt.h"
#include "devices/acpi/fixed_tables.h"
#include "vmm/base/check.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::acpi {
namespace {

// Tables one behind the other.
class Layout {
 public:
  explicit Layout(Gpa at) : at_(at) {}
  [[nodiscard]] Gpa add(const Table& table, uint64_t alignment = 16) {
    while ((at_.value + bytes_.size()) % alignment != 0) bytes_.push_back(std::byte{0});
    const Gpa place = at_ + bytes_.size();
    bytes_.insert(bytes_.end(), table.begin(), table.end());
    return place;
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  Gpa at_;
  std::vector<std::byte> bytes_;
};

}  // namespace

std::vector<std::byte> firmware_tables(const FirmwareConfig& config, Gpa at) {
  Layout layout(at);
  const Gpa first = layout.add(Table(kRsdpSize));
  GODWIT_CHECK(first == at, "tables at an unaligned place");
  const Gpa facs_at = layout.add(facs(), kFacsAlignment);
  const Gpa dsdt_at = layout.add(dsdt(config));
  std::vector<Gpa> listed{layout.add(fadt(facs_at, dsdt_at)), layout.add(madt(config.vcpus))};
  if (config.pci) listed.push_back(layout.add(mcfg()));
  const Gpa xsdt_at = layout.add(xsdt(listed));
  std::vector<std::byte> all = layout.take();
  const Table head = rsdp(xsdt_at);
  std::copy(head.begin(), head.end(), all.begin());
  GODWIT_CHECK(all.size() <= vmm::kAcpiTablesSpace.value, "ACPI tables larger than their place");
  return all;
}

}  // namespace godwit::devices::acpi
