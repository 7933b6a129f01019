// The IP addresses that a guest uses on one interface: a part of that device's state.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/base/byte_io.h"

namespace godwit::devices {

inline constexpr size_t kMaxAddresses = 8;
inline constexpr uint16_t kMaxVlan = 4094;

using Ipv4Address = std::array<uint8_t, 4>;
using Ipv6Address = std::array<uint8_t, 16>;

struct Ipv4Use {
  uint16_t vlan = 0;  // 1 to kMaxVlan; 0: no tag
  Ipv4Address address{};
  bool operator==(const Ipv4Use&) const = default;
};
struct Ipv6Use {
  uint16_t vlan = 0;
  Ipv6Address address{};
  bool router = false;  // the guest said that it is one
  bool operator==(const Ipv6Use&) const = default;
};
// At most kMaxAddresses of each kind, none twice, the least recently used first.
struct AddressList {
  std::vector<Ipv4Use> ipv4;
  std::vector<Ipv6Use> ipv6;
  bool operator==(const AddressList&) const = default;
};

// Addresses that one host may have: neither unspecified nor loopback, multicast or broadcast.
[[nodiscard]] bool is_host(const Ipv4Address& address);
[[nodiscard]] bool is_host(const Ipv6Address& address);

// For each kind a u32 count and then the uses: u16 VLAN, address, for IPv6 u8 router (0 or 1).
void encode_addresses(ByteWriter& out, const AddressList& list);
// Errors: kCorrupt, also for addresses that are no host's and for those that come twice.
Result<AddressList> decode_addresses(ByteReader& in);

}  // namespace godwit::devices
