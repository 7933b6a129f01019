#include "tests/net/packets.h"

#include "devices/net/ethernet.h"
#include "vmm/base/byte_io.h"

namespace godwit::devices {
namespace {

constexpr size_t kIp = 14, kL4 = 34;
constexpr uint8_t kTcp = 6, kUdp = 17;

void put(Bytes& to, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) to.push_back(std::byte(value >> (8 * i) & 0xff));
}
void patch(Bytes& to, size_t offset, uint16_t value) {
  to[offset] = std::byte(value >> 8);
  to[offset + 1] = std::byte(value & 0xff);
}

// The folded sum, not inverted.
uint16_t sum(std::span<const std::byte> bytes, uint32_t start = 0) {
  for (size_t i = 0; i < bytes.size(); i += 2) {
    const auto low = i + 1 < bytes.size() ? std::to_integer<uint32_t>(bytes[i + 1]) : 0;
    start += std::to_integer<uint32_t>(bytes[i]) << 8 | low;
  }
  while (start >> 16 != 0) start = (start & 0xffff) + (start >> 16);
  return static_cast<uint16_t>(start);
}

uint16_t pseudo_header(const Bytes& frame) {
  const auto protocol = std::to_integer<uint32_t>(frame[kIp + 9]);
  const auto length = static_cast<uint32_t>(big_endian_16(frame, kIp + 2) - 20);
  return sum(std::span(frame).subspan(kIp + 12, 8), protocol + length);
}

Bytes ipv4(MacAddress to, uint8_t protocol, size_t payload) {
  Bytes frame;
  for (const MacAddress& mac : {to, kGuestMac})
    for (const uint8_t byte : mac.bytes) put(frame, byte, 1);
  put(frame, kTypeIpv4, 2);
  put(frame, 0x4500, 2);
  put(frame, 20 + payload, 2);
  put(frame, 0x00004000, 4);  // don't fragment
  put(frame, 64, 1);
  put(frame, protocol, 1);
  put(frame, 0, 2);
  put(frame, kGuestAddress, 4);
  put(frame, kHostAddress, 4);
  patch(frame, kIp + 10, static_cast<uint16_t>(~sum(std::span(frame).subspan(kIp))));
  return frame;
}

// virtio_net_hdr_v1.
Bytes vnet_header(uint8_t gso_type, uint16_t header_bytes, uint16_t gso_size, uint16_t offset) {
  ByteWriter out;
  out.u8(1);  // VIRTIO_NET_HDR_F_NEEDS_CSUM
  out.u8(gso_type);
  out.u16(header_bytes);
  out.u16(gso_size);
  out.u16(kL4);
  out.u16(offset);
  out.u16(0);
  return out.take();
}

}  // namespace

Bytes udp_to_host(std::string_view text) {
  Bytes frame = ipv4(kHostMac, kUdp, 8 + text.size());
  put(frame, 4000, 2);
  put(frame, kUdpPort, 2);
  put(frame, 8 + text.size(), 2);
  put(frame, pseudo_header(frame), 2);
  for (const char c : text) frame.push_back(std::byte(c));
  return frame;
}

Bytes checksum_header() {
  return vnet_header(0, 0, 0, 6);
}

Bytes tcp_frame(MacAddress to, size_t bytes) {
  Bytes frame = ipv4(to, kTcp, 20 + bytes);
  put(frame, 4000u << 16 | 80, 4);
  put(frame, 1000, 4);         // sequence
  put(frame, 1, 4);            // acknowledgement
  put(frame, 0x5010'ffff, 4);  // 20 bytes of header, ACK, window
  put(frame, pseudo_header(frame), 2);
  put(frame, 0, 2);
  for (size_t i = 0; i < bytes; ++i) frame.push_back(std::byte(i * 7 & 0xff));
  return frame;
}

Bytes tso_header(uint16_t segment) {
  constexpr uint8_t kGsoTcpv4 = 1;
  return vnet_header(kGsoTcpv4, kTcpDataOffset, segment, 16);
}

bool l4_checksum_is_right(const Bytes& frame) {
  const size_t length = big_endian_16(frame, kIp + 2);
  return sum(std::span(frame).subspan(kL4, length - 20), pseudo_header(frame)) == 0xffff;
}

}  // namespace godwit::devices
