// Packets of the socket device (virtio 1.2, 5.10.6).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/virtio/queue.h"

namespace godwit::devices::virtio::vsock {

inline constexpr uint64_t kHostCid = 2;
inline constexpr uint32_t kHeaderBytes = 44;
inline constexpr uint16_t kStream = 1;  // VIRTIO_VSOCK_TYPE_STREAM

enum Operation : uint16_t {
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7,
};
// Flags of kShutdown: the sender of it will not ... any more.
inline constexpr uint32_t kWontReceive = 1;
inline constexpr uint32_t kWontSend = 2;

struct Packet {
  uint64_t source_cid = 0;
  uint64_t destination_cid = 0;
  uint32_t source_port = 0;
  uint32_t destination_port = 0;
  uint32_t length = 0;  // of what follows the header
  uint16_t type = 0;
  uint16_t operation = 0;
  uint32_t flags = 0;
  uint32_t buffer_size = 0;  // buf_alloc: the sender's whole receive buffer
  uint32_t forwarded = 0;    // fwd_cnt: bytes that have left it, modulo 2^32
};

// The chain has kHeaderBytes of readable bytes at least.
Packet read_packet(const Chain& chain);
// The chain has kHeaderBytes of writable bytes at least.
void write_packet(const Chain& chain, const Packet& packet);

// Who talks to whom: the ports of the two ends.
struct Ports {
  uint32_t host = 0;
  uint32_t guest = 0;
  auto operator<=>(const Ports&) const = default;
};

}  // namespace godwit::devices::virtio::vsock
