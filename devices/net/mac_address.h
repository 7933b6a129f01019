// Ethernet addresses.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace godwit::devices {

struct MacAddress {
  std::array<uint8_t, 6> bytes{};
  auto operator<=>(const MacAddress&) const = default;
  // An interface may have it: no multicast (so no broadcast), not all zeros.
  [[nodiscard]] bool is_unicast() const { return (bytes[0] & 1) == 0 && *this != MacAddress{}; }
};

inline constexpr MacAddress kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

// "52:54:00:12:34:56", two hexadecimal digits each; empty when it is something else.
std::optional<MacAddress> parse_mac(std::string_view text);
std::string to_string(const MacAddress& mac);

// A random unicast address from the locally administered space (IEEE 802, bit 0x02).
// Throws std::system_error when the host gives no random bytes.
MacAddress random_mac();

}  // namespace godwit::devices
