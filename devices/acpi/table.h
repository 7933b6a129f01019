// The header and the checksum that system description tables share. Source: ACPI 6.5, section
// 5.2.6.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace godwit::devices::acpi {

using Table = std::vector<std::byte>;

inline constexpr size_t kTableHeaderSize = 36;
inline constexpr std::string_view kOemId = "GODWIT";
inline constexpr std::string_view kOemTableId = "GODWITVM";

// Of four characters; `body` is what follows the header.
Table make_table(std::string_view signature, uint8_t revision, std::span<const std::byte> body);

// The byte that makes the sum of `bytes`, in which it is still zero, zero modulo 256.
std::byte checksum_of(std::span<const std::byte> bytes);

}  // namespace godwit::devices::acpi
