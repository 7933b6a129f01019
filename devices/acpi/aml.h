// ACPI Machine Language, as much as a table of fixed devices needs. Source: ACPI 6.5, chapter 20
// ("ACPI Machine Language (AML) Specification"). A piece of AML is its bytes; pieces are nested by
// giving them to the next function.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace godwit::devices::acpi {

using Aml = std::vector<std::byte>;

// 20.2.3: the shortest encoding of the number.
Aml aml_integer(uint64_t value);
// 19.3.4: three capital letters and four hexadecimal digits ("PNP0A08") as the 32-bit number that
// _HID and _CID take.
Aml aml_eisa_id(std::string_view id);
Aml aml_string(std::string_view text);  // ASCII
Aml aml_buffer(std::span<const std::byte> bytes);
Aml aml_package(std::initializer_list<Aml> elements);

// 20.2.5.1. `segment` is a NameSeg: 1 to 4 of A-Z, 0-9 and '_', no digit first. A scope's may begin
// with the root ('\').
Aml aml_name(std::string_view segment, const Aml& value);
Aml aml_scope(std::string_view segment, std::initializer_list<Aml> contents);
Aml aml_scope(std::string_view segment, const Aml& contents);
// 20.2.5.2.
Aml aml_device(std::string_view segment, std::initializer_list<Aml> contents);

// Pieces one after the other.
void append(Aml& to, const Aml& piece);

}  // namespace godwit::devices::acpi
