#include "devices/acpi/aml.h"

#include <charconv>

#include "vmm/base/byte_io.h"
#include "vmm/base/check.h"

namespace godwit::devices::acpi {
namespace {

// 20.3, table 20.2.
constexpr uint8_t kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08, kBytePrefix = 0x0a,
                  kWordPrefix = 0x0b, kDWordPrefix = 0x0c, kStringPrefix = 0x0d,
                  kQWordPrefix = 0x0e, kScopeOp = 0x10, kBufferOp = 0x11, kPackageOp = 0x12,
                  kExtOpPrefix = 0x5b, kDeviceOp = 0x82;

constexpr size_t kSegmentSize = 4;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// 20.2.4: the length counts itself.
void put_package_length(ByteWriter& out, size_t contents) {
  constexpr size_t kOneByteMost = 0x3f;
  if (contents + 1 <= kOneByteMost) {
    out.u8(static_cast<uint8_t>(contents + 1));
    return;
  }
  size_t extra = 1;
  while (contents + 1 + extra >= size_t{1} << (4 + 8 * extra)) ++extra;
  GODWIT_CHECK(extra <= 3, "a package longer than AML can say");
  size_t length = contents + 1 + extra;
  out.u8(static_cast<uint8_t>(extra << 6 | (length & 0xf)));
  for (length >>= 4; extra > 0; --extra, length >>= 8) out.u8(static_cast<uint8_t>(length));
}

// 20.2.2: padded with '_'.
void put_name(ByteWriter& out, std::string_view name) {
  if (name.starts_with('\\')) {
    out.u8('\\');
    name.remove_prefix(1);
  }
  GODWIT_CHECK(!name.empty() && name.size() <= kSegmentSize, "no AML name segment");
  out.bytes(bytes_of(name));
  for (size_t i = name.size(); i < kSegmentSize; ++i) out.u8('_');
}

Aml enclosed(std::initializer_list<uint8_t> opcode, const Aml& contents) {
  ByteWriter out;
  for (const uint8_t byte : opcode) out.u8(byte);
  put_package_length(out, contents.size());
  out.bytes(contents);
  return out.take();
}

Aml named(std::initializer_list<uint8_t> opcode, std::string_view name, const Aml& contents) {
  ByteWriter inside;
  put_name(inside, name);
  inside.bytes(contents);
  return enclosed(opcode, inside.take());
}

Aml joined(std::initializer_list<Aml> pieces) {
  Aml all;
  for (const Aml& piece : pieces) append(all, piece);
  return all;
}

}  // namespace

void append(Aml& to, const Aml& piece) {
  to.insert(to.end(), piece.begin(), piece.end());
}

Aml aml_integer(uint64_t value) {
  ByteWriter out;
  if (value <= 1) {
    out.u8(value == 0 ? kZeroOp : kOneOp);
  } else if (value <= UINT8_MAX) {
    out.u8(kBytePrefix);
    out.u8(static_cast<uint8_t>(value));
  } else if (value <= UINT16_MAX) {
    out.u8(kWordPrefix);
    out.u16(static_cast<uint16_t>(value));
  } else if (value <= UINT32_MAX) {
    out.u8(kDWordPrefix);
    out.u32(static_cast<uint32_t>(value));
  } else {
    out.u8(kQWordPrefix);
    out.u64(value);
  }
  return out.take();
}

Aml aml_eisa_id(std::string_view id) {
  uint16_t product = 0;
  const auto parsed = std::from_chars(id.begin() + 3, id.end(), product, 16);
  GODWIT_CHECK(id.size() == 7 && parsed.ec == std::errc() && parsed.ptr == id.end(), "no EISA id");
  uint32_t letters = 0;
  for (const char c : id.substr(0, 3)) letters = letters << 5 | static_cast<uint32_t>(c - '@');
  // Big-endian in an integer, which is little-endian.
  ByteWriter out;
  out.u8(kDWordPrefix);
  out.u8(static_cast<uint8_t>(letters >> 8));
  out.u8(static_cast<uint8_t>(letters));
  out.u8(static_cast<uint8_t>(product >> 8));
  out.u8(static_cast<uint8_t>(product));
  return out.take();
}

Aml aml_string(std::string_view text) {
  ByteWriter out;
  out.u8(kStringPrefix);
  out.bytes(bytes_of(text));
  out.u8(0);
  return out.take();
}

Aml aml_buffer(std::span<const std::byte> bytes) {
  Aml contents = aml_integer(bytes.size());
  contents.insert(contents.end(), bytes.begin(), bytes.end());
  return enclosed({kBufferOp}, contents);
}

Aml aml_package(std::initializer_list<Aml> elements) {
  Aml contents{static_cast<std::byte>(elements.size())};
  append(contents, joined(elements));
  return enclosed({kPackageOp}, contents);
}

Aml aml_name(std::string_view segment, const Aml& value) {
  ByteWriter out;
  out.u8(kNameOp);
  put_name(out, segment);
  out.bytes(value);
  return out.take();
}

Aml aml_scope(std::string_view segment, std::initializer_list<Aml> contents) {
  return named({kScopeOp}, segment, joined(contents));
}

Aml aml_scope(std::string_view segment, const Aml& contents) {
  return named({kScopeOp}, segment, contents);
}

Aml aml_device(std::string_view segment, std::initializer_list<Aml> contents) {
  return named({kExtOpPrefix, kDeviceOp}, segment, joined(contents));
}

}  // namespace godwit::devices::acpi
