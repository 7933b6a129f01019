#include "devices/virtio/vsock/connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace godwit::devices::virtio::vsock {
namespace {

// As many pieces as one system call is given.
constexpr size_t kPieces = 64;

// The bytes of `buffers` from `skip` on, at most `length`, as far as they fit into `pieces`.
size_t gather(const std::vector<Buffer>& buffers, size_t skip, size_t length,
              std::array<iovec, kPieces>& pieces) {
  size_t count = 0;
  for (const Buffer& buffer : buffers) {
    if (length == 0 || count == pieces.size()) break;
    if (skip >= buffer.bytes.size()) {
      skip -= buffer.bytes.size();
      continue;
    }
    const size_t n = std::min(length, buffer.bytes.size() - skip);
    pieces[count++] = {buffer.bytes.data() + skip, n};
    length -= n;
    skip = 0;
  }
  return count;
}

bool not_now(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

Connection::Connection(Ports ports, UniqueFd socket, Origin origin)
    : ports_(ports),
      socket_(std::move(socket)),
      stage_(origin == Origin::kHost ? Stage::kRequested : Stage::kOpen) {}

void Connection::note_credit(const Packet& packet) {
  guest_buffer_ = packet.buffer_size;
  guest_forwarded_ = packet.forwarded;
}

Connection::Verdict Connection::receive(const Packet& packet, const Chain& chain) {
  if (packet.operation == kReset) return Verdict::kOver;
  if (packet.type != kStream) return Verdict::kReset;
  note_credit(packet);
  if (stage_ == Stage::kRequested)
    return packet.operation == kResponse ? accept() : Verdict::kReset;
  switch (packet.operation) {
    case kData:
      return receive_data(packet, chain);
    case kShutdown:
      return receive_shutdown(packet.flags);
    case kCreditRequest:
      owes_credit_ = true;
      return Verdict::kGoesOn;
    case kCreditUpdate:
      return Verdict::kGoesOn;
    default:
      return Verdict::kReset;
  }
}

// Told to the host as Firecracker and Cloud Hypervisor tell it. The socket is fresh: a line that
// does not fit into it means that nobody is there.
Connection::Verdict Connection::accept() {
  stage_ = Stage::kOpen;
  const std::string line = fmt::format("OK {}\n", ports_.host);
  const ssize_t n = ::send(fd(), line.data(), line.size(), MSG_NOSIGNAL);
  return n == static_cast<ssize_t>(line.size()) ? Verdict::kGoesOn : Verdict::kReset;
}

Connection::Verdict Connection::receive_data(const Packet& packet, const Chain& chain) {
  if ((guest_shutdown_ & kWontSend) != 0) return Verdict::kReset;
  const uint32_t waiting = received_ - forwarded_;
  if (packet.length > kBufferBytes - waiting) return Verdict::kReset;  // more than its credit
  received_ += packet.length;
  if (!socket_ || host_deaf_) {
    forwarded_ += packet.length;
    return Verdict::kGoesOn;
  }
  const size_t sent = unsent() == 0 ? send_now(chain, packet.length) : 0;
  if (host_deaf_) {
    forwarded_ = received_;
    return Verdict::kGoesOn;
  }
  forwarded_ += static_cast<uint32_t>(sent);
  keep_rest(chain, sent, packet.length - sent);
  return Verdict::kGoesOn;
}

size_t Connection::send_now(const Chain& chain, size_t length) {
  std::array<iovec, kPieces> pieces;
  size_t sent = 0;
  while (sent < length) {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = gather(chain.readable, kHeaderBytes + sent, length - sent, pieces);
    const ssize_t n = ::sendmsg(fd(), &message, MSG_NOSIGNAL);
    if (n < 0 && !not_now(errno)) host_takes_no_more();
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  return sent;
}

void Connection::keep_rest(const Chain& chain, size_t skip, size_t length) {
  skip += kHeaderBytes;
  for (const Buffer& buffer : chain.readable) {
    if (length == 0) return;
    if (skip >= buffer.bytes.size()) {
      skip -= buffer.bytes.size();
      continue;
    }
    const auto part = buffer.bytes.subspan(skip, std::min(length, buffer.bytes.size() - skip));
    skip = 0;
    out_.insert(out_.end(), part.begin(), part.end());
    length -= part.size();
  }
}

Connection::Verdict Connection::receive_shutdown(uint32_t flags) {
  guest_shutdown_ |= flags & kBoth;
  if (lingers()) return guest_shutdown_ == kBoth ? Verdict::kReset : Verdict::kGoesOn;
  pass_on_shutdown();
  return finished() ? Verdict::kReset : Verdict::kGoesOn;
}

void Connection::pass_on_shutdown() {
  if (!socket_) return;
  if ((guest_shutdown_ & kWontReceive) != 0) ::shutdown(fd(), SHUT_RD);
  if ((guest_shutdown_ & kWontSend) != 0 && unsent() == 0) ::shutdown(fd(), SHUT_WR);
}

bool Connection::finished() const {
  return guest_shutdown_ == kBoth && unsent() == 0;
}

void Connection::on_events(uint32_t events) {
  if (!socket_) return;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) flush();
  if ((events & (EPOLLHUP | EPOLLERR)) != 0 && host_ended_) return host_gone();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
}

void Connection::flush() {
  while (unsent() != 0) {
    const ssize_t n = ::send(fd(), out_.data() + out_sent_, unsent(), MSG_NOSIGNAL);
    if (n < 0 && !not_now(errno)) return host_takes_no_more();
    if (n <= 0) break;
    out_sent_ += static_cast<size_t>(n);
    forwarded_ += static_cast<uint32_t>(n);
  }
  if (unsent() == 0) {
    out_ = {};
    out_sent_ = 0;
    pass_on_shutdown();
  } else if (out_sent_ >= kBufferBytes) {
    out_.erase(out_.begin(), out_.begin() + static_cast<ptrdiff_t>(out_sent_));
    out_sent_ = 0;
  }
}

void Connection::host_takes_no_more() {
  out_ = {};
  out_sent_ = 0;
  host_deaf_ = true;
  forwarded_ = received_;
  shutdown_ |= kWontReceive;
  if (host_ended_) host_gone();
}

void Connection::host_gone() {
  host_ended_ = host_deaf_ = true;
  readable_ = false;
  forwarded_ = received_;
  out_ = {};
  out_sent_ = 0;
  shutdown_ = kBoth;
  socket_.reset();
}

uint32_t Connection::guest_room() const {
  const uint32_t in_flight = sent_ - guest_forwarded_;
  return in_flight >= guest_buffer_ ? 0 : guest_buffer_ - in_flight;
}

bool Connection::may_read() const {
  return socket_.valid() && stage_ == Stage::kOpen && !owes_opening_ && !host_ended_ &&
         (guest_shutdown_ & kWontReceive) == 0 && guest_room() != 0;
}

Connection::Interest Connection::interest() const {
  if (!socket_) return {};
  Interest wanted;
  if (may_read() && !readable_) wanted.events |= EPOLLIN;
  if (unsent() != 0) wanted.events |= EPOLLOUT;
  // With no events asked for, a hang-up is still reported. That is wanted once the input has ended;
  // before, unread input may be left, and the report would come for ever.
  wanted.watched = wanted.events != 0 || host_ended_;
  return wanted;
}

bool Connection::should_tell_credit() const {
  if (owes_credit_) return true;
  const uint32_t known_room = kBufferBytes - (received_ - told_forwarded_);
  return forwarded_ != told_forwarded_ && known_room < kBufferBytes / 2;
}

bool Connection::wants_to_send() const {
  if (owes_opening_ || finished()) return true;
  if (stage_ == Stage::kRequested) return false;
  return shutdown_ != told_shutdown_ || should_tell_credit() || (readable_ && may_read());
}

Packet Connection::packet_to_guest(uint64_t guest_cid) const {
  return {.source_cid = kHostCid,
          .destination_cid = guest_cid,
          .source_port = ports_.host,
          .destination_port = ports_.guest,
          .type = kStream,
          .buffer_size = kBufferBytes,
          .forwarded = forwarded_};
}

uint32_t Connection::fill(const Chain& chain, uint64_t guest_cid) {
  uint32_t length = 0;
  if (!owes_opening_ && readable_ && may_read()) length = fill_data(chain);
  Packet packet = packet_to_guest(guest_cid);
  packet.length = length;
  if (owes_opening_) {
    packet.operation = stage_ == Stage::kRequested ? kRequest : kResponse;
    owes_opening_ = false;
  } else if (length != 0) {
    packet.operation = kData;
    sent_ += length;
  } else if (stage_ == Stage::kOpen && shutdown_ != told_shutdown_) {
    packet.operation = kShutdown;
    packet.flags = told_shutdown_ = shutdown_;
  } else if (stage_ == Stage::kOpen && should_tell_credit()) {
    packet.operation = kCreditUpdate;
  } else {
    return 0;
  }
  owes_credit_ = false;
  told_forwarded_ = forwarded_;
  write_packet(chain, packet);
  return kHeaderBytes + length;
}

// Reads into the chain, behind where the header comes.
uint32_t Connection::fill_data(const Chain& chain) {
  const uint64_t room =
      std::min<uint64_t>(chain.writable_bytes - kHeaderBytes, std::min(guest_room(), kMostPayload));
  if (room == 0) return 0;
  std::array<iovec, kPieces> pieces;
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = gather(chain.writable, kHeaderBytes, room, pieces);
  const ssize_t n = ::recvmsg(fd(), &message, 0);
  if (n > 0) return static_cast<uint32_t>(n);
  readable_ = false;
  if (n < 0 && not_now(errno)) return 0;
  host_ended_ = true;
  shutdown_ |= kWontSend;
  pollfd state{fd(), 0, 0};
  const bool hung_up = ::poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0;
  if (n < 0 || hung_up || host_deaf_) host_gone();
  return 0;
}

}  // namespace godwit::devices::virtio::vsock
