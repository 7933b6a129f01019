// IPv4 packets as a guest sends them.
#pragma once
#include <string_view>

#include "devices/net/mac_address.h"
#include "tests/net/network_fixture.h"

namespace godwit::devices {

inline constexpr MacAddress kGuestMac = {{0x52, 0x54, 0, 0, 0, 1}};
inline constexpr MacAddress kHostMac = {{0x52, 0x54, 0, 0, 0, 0xfe}};
inline constexpr uint32_t kHostAddress = 0x0a070001;   // 10.7.0.1
inline constexpr uint32_t kGuestAddress = 0x0a070002;  // 10.7.0.2
inline constexpr uint16_t kUdpPort = 5000;

// A datagram from the guest to kUdpPort of the host, whose checksum only covers the pseudo-header.
Bytes udp_to_host(std::string_view text);
// The vnet header that leaves the rest of that to the host.
Bytes checksum_header();

// One TCP segment of `bytes` of data to `to`, with the header for segments of `segment` bytes.
Bytes tcp_frame(MacAddress to, size_t bytes);
Bytes tso_header(uint16_t segment);
// Where the data of a frame of tcp_frame() begins.
inline constexpr size_t kTcpDataOffset = 14 + 20 + 20;

// Of UDP or TCP over IPv4 without options.
bool l4_checksum_is_right(const Bytes& frame);

}  // namespace godwit::devices
