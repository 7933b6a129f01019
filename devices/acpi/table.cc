#include "devices/acpi/table.h"

#include "vmm/base/byte_io.h"
#include "vmm/base/check.h"

namespace godwit::devices::acpi {
namespace {

constexpr size_t kChecksumOffset = 9;
constexpr uint32_t kOemRevision = 1;
constexpr std::string_view kCreatorId = "GDWT";
constexpr uint32_t kCreatorRevision = 1;

}  // namespace

std::byte checksum_of(std::span<const std::byte> bytes) {
  uint8_t sum = 0;
  for (const std::byte b : bytes) sum = static_cast<uint8_t>(sum + std::to_integer<uint8_t>(b));
  return static_cast<std::byte>(-sum);
}

Table make_table(std::string_view signature, uint8_t revision, std::span<const std::byte> body) {
  GODWIT_CHECK(signature.size() == 4, "a table's signature has four characters");
  ByteWriter out;
  out.bytes(std::as_bytes(std::span(signature)));
  out.u32(static_cast<uint32_t>(kTableHeaderSize + body.size()));
  out.u8(revision);
  out.u8(0);  // checksum
  out.bytes(std::as_bytes(std::span(kOemId)));
  out.bytes(std::as_bytes(std::span(kOemTableId)));
  out.u32(kOemRevision);
  out.bytes(std::as_bytes(std::span(kCreatorId)));
  out.u32(kCreatorRevision);
  out.bytes(body);
  Table table = out.take();
  table[kChecksumOffset] = checksum_of(table);
  return table;
}

}  // namespace godwit::devices::acpi
