#include "devices/acpi/resources.h"

#include "vmm/base/check.h"

namespace godwit::devices::acpi {
namespace {

// Tags: a small descriptor's with its length in the low three bits (6.4.2), a large one's (6.4.3).
constexpr uint8_t kIrqNoFlags = 0x22, kIoPort = 0x47, kEndTag = 0x79, kMemory32Fixed = 0x86,
                  kDWordAddressSpace = 0x87, kWordAddressSpace = 0x88;

// Address space descriptors (6.4.3.5): resource type, general flags, flags of the type.
constexpr uint8_t kMemoryRange = 0, kIoRange = 1, kBusNumberRange = 2;
constexpr uint8_t kFixedProducer = 1 << 3 | 1 << 2;  // _MAF, _MIF; positive decode
constexpr uint8_t kReadWrite = 1;                    // of memory; not cacheable
constexpr uint8_t kEntireRange = 3;                  // of I/O: no ISA aliases

void put_word_window(ByteWriter& out, uint8_t type, uint8_t type_flags, uint16_t first,
                     uint16_t last) {
  constexpr uint16_t kLength = 13;
  out.u8(kWordAddressSpace);
  out.u16(kLength);
  out.u8(type);
  out.u8(kFixedProducer);
  out.u8(type_flags);
  out.u16(0);  // granularity
  out.u16(first);
  out.u16(last);
  out.u16(0);  // translation
  out.u16(static_cast<uint16_t>(last - first + 1));
}

}  // namespace

Resources& Resources::ports(uint64_t first, uint64_t count) {
  constexpr uint8_t kDecode16 = 1;
  GODWIT_CHECK(first + count <= 0x10000 && count <= UINT8_MAX, "ports that do not exist");
  out_.u8(kIoPort);
  out_.u8(kDecode16);
  out_.u16(static_cast<uint16_t>(first));
  out_.u16(static_cast<uint16_t>(first));
  out_.u8(1);  // alignment
  out_.u8(static_cast<uint8_t>(count));
  return *this;
}

Resources& Resources::isa_interrupt(uint32_t irq) {
  GODWIT_CHECK(irq < 16, "no ISA interrupt");
  out_.u8(kIrqNoFlags);
  out_.u16(static_cast<uint16_t>(1u << irq));
  return *this;
}

Resources& Resources::memory(Gpa start, ByteCount size) {
  constexpr uint16_t kLength = 9;
  GODWIT_CHECK((start + size.value).value <= uint64_t{1} << 32, "memory above 4 GiB");
  out_.u8(kMemory32Fixed);
  out_.u16(kLength);
  out_.u8(kReadWrite);
  out_.u32(static_cast<uint32_t>(start.value));
  out_.u32(static_cast<uint32_t>(size.value));
  return *this;
}

Resources& Resources::bus_window(uint16_t first, uint16_t last) {
  put_word_window(out_, kBusNumberRange, 0, first, last);
  return *this;
}

Resources& Resources::port_window(uint16_t first, uint16_t last) {
  GODWIT_CHECK(first > 0, "the length of all ports does not fit its field");
  put_word_window(out_, kIoRange, kEntireRange, first, last);
  return *this;
}

Resources& Resources::memory_window(Gpa start, ByteCount size) {
  constexpr uint16_t kLength = 23;
  GODWIT_CHECK((start + size.value).value <= uint64_t{1} << 32, "memory above 4 GiB");
  out_.u8(kDWordAddressSpace);
  out_.u16(kLength);
  out_.u8(kMemoryRange);
  out_.u8(kFixedProducer);
  out_.u8(kReadWrite);
  out_.u32(0);  // granularity
  out_.u32(static_cast<uint32_t>(start.value));
  out_.u32(static_cast<uint32_t>(start.value + size.value - 1));
  out_.u32(0);  // translation
  out_.u32(static_cast<uint32_t>(size.value));
  return *this;
}

Aml Resources::finish() {
  out_.u8(kEndTag);
  out_.u8(0);  // 6.4.2.9: no checksum
  return aml_buffer(out_.view());
}

}  // namespace godwit::devices::acpi
