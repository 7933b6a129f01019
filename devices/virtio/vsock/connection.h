// One stream between a socket of the host and one of the guest (virtio 1.2, 5.10.6).
//
// Flow control (5.10.6.3): the guest sends at most kBufferBytes that the host's socket has not
// taken, and what it sends beyond that ends the stream; from the host's socket no more is read than
// the guest has said it has room for. So nothing is buffered on the way to the guest and at most
// kBufferBytes on the way to the host.
#pragma once
#include <cstdint>
#include <vector>

#include "devices/virtio/vsock/packet.h"
#include "vmm/base/fd.h"

namespace godwit::devices::virtio::vsock {

// Not synchronised.
class Connection {
 public:
  static constexpr uint32_t kBufferBytes = 128u << 10;
  static constexpr uint32_t kMostPayload = 64u << 10;  // of a packet to the guest

  enum class Origin { kHost, kGuest };
  // From the host: the guest is asked whether it wants it. From the guest: it is told that the
  // host does.
  Connection(Ports ports, UniqueFd socket, Origin origin);

  [[nodiscard]] const Ports& ports() const { return ports_; }
  // -1 once the host's end is gone.
  [[nodiscard]] int fd() const { return socket_.get(); }

  enum class Verdict { kGoesOn, kReset, kOver };
  // Takes a packet of the guest, `chain` being its bytes. kReset: tell the guest that it is over.
  // kOver: the guest knows.
  Verdict receive(const Packet& packet, const Chain& chain);

  // What the guest says of its buffer, in every packet.
  void note_credit(const Packet& packet);
  // The guest has been asked and has said neither yes nor no.
  [[nodiscard]] bool unanswered() const { return stage_ == Stage::kRequested; }

  // What epoll found on fd().
  void on_events(uint32_t epoll_events);
  // What to wait for; none: fd() must not be watched at all, for a hang-up would be reported again
  // and again.
  struct Interest {
    bool watched = false;
    uint32_t events = 0;
    bool operator==(const Interest&) const = default;
  };
  [[nodiscard]] Interest interest() const;

  // Whether fill() would have something to send.
  [[nodiscard]] bool wants_to_send() const;
  // Makes the next packet for the guest in `chain` (with room for a header); the bytes written, 0
  // when there is none after all.
  uint32_t fill(const Chain& chain, uint64_t guest_cid);
  // Both ends are done with it and the guest is to be told: fill() may be forgone.
  [[nodiscard]] bool finished() const;
  // Only the guest's word is missing, which may never come.
  [[nodiscard]] bool lingers() const { return !socket_ && told_shutdown_ == kBoth; }

 private:
  static constexpr uint32_t kBoth = kWontReceive | kWontSend;
  enum class Stage { kRequested, kOpen };

  Verdict receive_data(const Packet& packet, const Chain& chain);
  Verdict receive_shutdown(uint32_t flags);
  Verdict accept();
  size_t send_now(const Chain& chain, size_t length);
  void keep_rest(const Chain& chain, size_t skip, size_t length);
  void flush();
  void host_takes_no_more();
  void host_gone();
  void pass_on_shutdown();
  uint32_t fill_data(const Chain& chain);
  [[nodiscard]] uint32_t guest_room() const;
  [[nodiscard]] size_t unsent() const { return out_.size() - out_sent_; }
  [[nodiscard]] bool may_read() const;
  [[nodiscard]] bool should_tell_credit() const;
  [[nodiscard]] Packet packet_to_guest(uint64_t guest_cid) const;

  Ports ports_;
  UniqueFd socket_;
  Stage stage_;

  // To the host.
  std::vector<std::byte> out_;  // guest-controlled
  size_t out_sent_ = 0;
  bool host_deaf_ = false;  // takes nothing more: dropped
  uint32_t received_ = 0;   // bytes of the guest, modulo 2^32
  uint32_t forwarded_ = 0;  // of those, what the host's socket took
  uint32_t told_forwarded_ = 0;
  uint32_t guest_shutdown_ = 0;  // flags

  // To the guest.
  uint32_t guest_buffer_ = 0;  // guest-controlled, as is the next
  uint32_t guest_forwarded_ = 0;
  uint32_t sent_ = 0;
  bool readable_ = false;    // the host's socket may have bytes
  bool host_ended_ = false;  // it sends nothing more
  bool owes_opening_ = true;
  bool owes_credit_ = false;
  uint32_t shutdown_ = 0;       // what the guest is to know
  uint32_t told_shutdown_ = 0;  // what it knows
};

}  // namespace godwit::devices::virtio::vsock
