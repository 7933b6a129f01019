#include "devices/virtio/vsock/packet.h"

#include <algorithm>

#include "vmm/base/byte_io.h"
#include "vmm/base/check.h"

namespace godwit::devices::virtio::vsock {

Packet read_packet(const Chain& chain) {
  GODWIT_CHECK(chain.readable_bytes >= kHeaderBytes, "a packet without a header");
  std::array<std::byte, kHeaderBytes> raw;
  size_t have = 0;
  for (const Buffer& buffer : chain.readable) {
    const size_t n = std::min(raw.size() - have, buffer.bytes.size());
    std::copy_n(buffer.bytes.begin(), n, raw.begin() + static_cast<ptrdiff_t>(have));
    have += n;
  }
  ByteReader in(raw, "a vsock packet");
  Packet packet;
  packet.source_cid = in.u64();
  packet.destination_cid = in.u64();
  packet.source_port = in.u32();
  packet.destination_port = in.u32();
  packet.length = in.u32();
  packet.type = in.u16();
  packet.operation = in.u16();
  packet.flags = in.u32();
  packet.buffer_size = in.u32();
  packet.forwarded = in.u32();
  return packet;
}

void write_packet(const Chain& chain, const Packet& packet) {
  GODWIT_CHECK(chain.writable_bytes >= kHeaderBytes, "no room for a packet's header");
  ByteWriter out;
  out.u64(packet.source_cid);
  out.u64(packet.destination_cid);
  out.u32(packet.source_port);
  out.u32(packet.destination_port);
  out.u32(packet.length);
  out.u16(packet.type);
  out.u16(packet.operation);
  out.u32(packet.flags);
  out.u32(packet.buffer_size);
  out.u32(packet.forwarded);
  auto raw = out.view();
  for (const Buffer& buffer : chain.writable) {
    const auto part = raw.first(std::min(raw.size(), buffer.bytes.size()));
    std::copy(part.begin(), part.end(), buffer.bytes.begin());
    raw = raw.subspan(part.size());
  }
}

}  // namespace godwit::devices::virtio::vsock
