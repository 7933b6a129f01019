// What stands behind a guest's network interface on the host, and the device in front of it.
//
// Frames. A frame in either direction is 12 bytes of virtio_net_hdr_v1, little-endian, and then the
// Ethernet frame (virtio 1.2 section 5.1.6). num_buffers, the last two bytes, is not looked at when
// a guest sends, and is left as it was when it receives: the device fills it in.
// Directions are the guest's: it sends to the host's network and receives from there.
// Migration. A quiesced backend moves no frame; the queue of the kernel fills meanwhile and then
// drops, as a network card without buffers does. What came for a guest that was only paused here is
// handed to it afterwards. What a target's interface collected before the guest came is stale
// (broadcasts of minutes ago, an ARP answer that is no longer true) and is dropped at its first
// resume(); the network sends nothing to the guest there before that but by flooding.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "vmm/base/error.h"

namespace godwit::devices {

inline constexpr size_t kVnetHeaderBytes = 12;
// A header and the largest frame there is: 64 KiB of segmentation offload, Ethernet, two VLAN tags.
inline constexpr size_t kMaxNetFrameBytes = kVnetHeaderBytes + 65535 + 14 + 8;

// What one side of the interface lets the other leave undone.
struct NetOffloads {
  bool checksum = false;  // the rest needs this one
  bool tso4 = false;
  bool tso6 = false;
  bool ecn = false;  // TSO of segments with ECN bits; needs tso4 or tso6
  bool ufo = false;  // UDP fragmentation, the old kind
  bool uso = false;  // UDP segmentation over IPv4 and IPv6 (Linux 6.2)
  bool operator==(const NetOffloads&) const = default;
  // Less what lacks the offload that it needs.
  [[nodiscard]] NetOffloads consistent() const;
  [[nodiscard]] NetOffloads operator&(const NetOffloads& other) const;
};

enum class NetResult {
  kDone,
  kNotNow,   // poll_fd() says when to try again; or the backend is quiesced
  kDropped,  // the frame is gone, and counted; go on with the next one
  kGone,     // the interface was removed: never again, stop polling
};

struct NetReceived {
  NetResult result = NetResult::kNotNow;
  size_t bytes = 0;  // with the header; of kDone
};

// Since the backend was opened. Bytes are those of Ethernet frames, without the header.
struct NetCounters {
  uint64_t sent_frames = 0;
  uint64_t sent_bytes = 0;
  uint64_t received_frames = 0;
  uint64_t received_bytes = 0;
  // Sent by the guest, dropped here:
  uint64_t dropped_malformed = 0;  // too short, too long, a header that the kernel refuses
  uint64_t dropped_link_down = 0;  // the interface is down, or gone
  uint64_t dropped_no_memory = 0;
  uint64_t dropped_inactive_queue = 0;
  // For the guest, dropped here:
  uint64_t dropped_too_long = 0;  // for the guest's buffers
  uint64_t dropped_stale = 0;     // came before the guest did
  // In either direction:
  uint64_t dropped_other = 0;

  [[nodiscard]] uint64_t dropped() const {
    return dropped_malformed + dropped_link_down + dropped_no_memory + dropped_inactive_queue +
           dropped_too_long + dropped_stale + dropped_other;
  }
};

enum class QueuedFrames {
  kKeep,  // the guest was only paused here
  kDrop,  // the guest came from elsewhere
};

// Made quiesced: resume() starts it. Threads: a queue pair's receive() on one thread at a time, and
// so its send(); different queues and directions at the same time. The rest on one thread at a
// time, set_active_pairs() and set_guest_offloads() while frames move too; counters() on any.
class NetBackend {
 public:
  virtual ~NetBackend() = default;
  // As opened; the first of them is active at the start.
  [[nodiscard]] virtual size_t queue_pairs() const = 0;
  // Frames for the guest come in the first `pairs` queues (1 to queue_pairs()) only. What waits in
  // queues that go inactive is dropped, and so is what a guest still sends there. Errors: what the
  // kernel says; a part may be done then.
  virtual Result<> set_active_pairs(size_t pairs) = 0;

  // Never blocks. A frame longer than `to` is dropped, never cut. `to` must not be empty.
  virtual NetReceived receive(size_t pair, std::span<const iovec> to) = 0;
  // Never blocks. Bytes and layout are the guest's: anything may stand there. More than
  // IOV_MAX pieces or kMaxNetFrameBytes are dropped as malformed.
  virtual NetResult send(size_t pair, std::span<const iovec> frame) = 0;
  // Readable when receive() may find a frame, writable when send() may go on. Valid as long as the
  // backend; that of an inactive pair reports POLLERR without end: not to be polled.
  [[nodiscard]] virtual int poll_fd(size_t pair) const = 0;

  // What the host can do for frames that the guest sends (the HOST_* features of virtio), and may
  // be told to leave to the guest in those it receives (the GUEST_* features).
  [[nodiscard]] virtual NetOffloads offloads() const = 0;
  // What the guest takes, from now on. Returns what is in force: `guest` less what the host can't.
  virtual NetOffloads set_guest_offloads(NetOffloads guest) = 0;
  // Of the host's interface when it was opened; empty when that cannot be seen from here.
  [[nodiscard]] virtual std::optional<uint16_t> mtu() const = 0;

  // Both idempotent. The caller's threads are out of send() and receive() by then: no frame moves
  // afterwards.
  virtual void quiesce() = 0;
  virtual void resume(QueuedFrames queued) = 0;

  // For users: the interface's name.
  [[nodiscard]] virtual std::string host_name() const = 0;
  [[nodiscard]] virtual NetCounters counters() const = 0;
};

}  // namespace godwit::devices
