#include "devices/net/mac_address.h"

#include <fmt/ranges.h>
#include <sys/random.h>

#include <charconv>

#include "vmm/base/syscall.h"

namespace godwit::devices {

std::optional<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac;
  constexpr size_t kLength = 17;
  if (text.size() != kLength) return std::nullopt;
  for (size_t i = 0; i < mac.bytes.size(); ++i) {
    const char* const digits = text.data() + 3 * i;
    const auto [stop, problem] = std::from_chars(digits, digits + 2, mac.bytes[i], 16);
    if (problem != std::errc() || stop != digits + 2) return std::nullopt;
    if (i + 1 < mac.bytes.size() && digits[2] != ':') return std::nullopt;
  }
  return mac;
}

std::string to_string(const MacAddress& mac) {
  return fmt::format("{:02x}", fmt::join(mac.bytes, ":"));
}

MacAddress random_mac() {
  MacAddress mac;
  // Up to 256 bytes come whole.
  check_syscall(::getrandom(mac.bytes.data(), mac.bytes.size(), 0), "getrandom");
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfc) | 0x02);
  return mac;
}

}  // namespace godwit::devices
