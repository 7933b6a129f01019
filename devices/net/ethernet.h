// Numbers of Ethernet, ARP and neighbour discovery, and fields in network byte order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace godwit::devices {

inline constexpr size_t kEthernetHeaderBytes = 14;
inline constexpr size_t kVlanTagBytes = 4;
inline constexpr size_t kLeastEthernetBytes = 60;  // IEEE 802.3, without the checksum

inline constexpr uint16_t kTypeIpv4 = 0x0800;
inline constexpr uint16_t kTypeArp = 0x0806;
inline constexpr uint16_t kTypeRarp = 0x8035;
inline constexpr uint16_t kTypeVlan = 0x8100;
inline constexpr uint16_t kTypeIpv6 = 0x86dd;

inline constexpr size_t kArpBytes = 28;  // for Ethernet and IPv4
inline constexpr uint16_t kArpEthernet = 1;
inline constexpr uint16_t kArpRequest = 1;
inline constexpr uint16_t kArpReply = 2;
inline constexpr uint16_t kRarpRequest = 3;

inline constexpr size_t kIpv6HeaderBytes = 40;
inline constexpr uint8_t kNextIcmpv6 = 58;
inline constexpr uint8_t kNeighbourHopLimit = 255;
inline constexpr uint8_t kRouterSolicitation = 133;
inline constexpr uint8_t kRouterAdvertisement = 134;
inline constexpr uint8_t kNeighbourSolicitation = 135;
inline constexpr uint8_t kNeighbourAdvertisement = 136;
inline constexpr size_t kAdvertisementBytes = 24;  // without options
inline constexpr uint8_t kRouterFlag = 0x80;
inline constexpr uint8_t kOverrideFlag = 0x20;
inline constexpr uint8_t kTargetLinkLayerOption = 2;

// `bytes` holds at least offset + 2.
inline uint16_t big_endian_16(std::span<const std::byte> bytes, size_t offset) {
  return static_cast<uint16_t>(std::to_integer<unsigned>(bytes[offset]) << 8 |
                               std::to_integer<unsigned>(bytes[offset + 1]));
}

}  // namespace godwit::devices
