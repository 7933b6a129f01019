#include "migration/transport/stream_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <climits>
#include <system_error>

#include "migration/transport/deadline.h"
#include "migration/transport/socket_options.h"

namespace godwit::migration {
namespace {

void add(std::atomic<uint64_t>& counter, uint64_t n) {
  // One writer: no read-modify-write needed.
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

bool would_block(int errno_value) {
  return errno_value == EAGAIN || errno_value == EWOULDBLOCK;
}

msghdr message_of(std::span<const iovec> vectors) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(vectors.data());
  message.msg_iovlen = std::min<size_t>(vectors.size(), IOV_MAX);
  return message;
}

}  // namespace

std::span<iovec> drop_front(std::span<iovec> vectors, size_t count) {
  while (!vectors.empty() && count >= vectors.front().iov_len) {
    count -= vectors.front().iov_len;
    vectors = vectors.subspan(1);
  }
  if (count > 0) {
    vectors.front().iov_base = static_cast<std::byte*>(vectors.front().iov_base) + count;
    vectors.front().iov_len -= count;
  }
  return vectors;
}

StreamSocket::StreamSocket(UniqueFd fd, std::string peer)
    : fd_(std::move(fd)), peer_(std::move(peer)), tcp_(is_tcp(fd_.get())) {
  set_stream_options(fd_.get());
  set_timeout(kDefaultIoTimeout);
}

void StreamSocket::set_timeout(Nanoseconds timeout) {
  timeout_ = timeout;
  set_user_timeout(fd_.get(), timeout);
}

Result<> StreamSocket::write_all(std::span<iovec> vectors) {
  vectors = drop_front(vectors, 0);
  while (!vectors.empty()) {
    GODWIT_ASSIGN(const size_t count, write_some(vectors));
    vectors = drop_front(vectors, count);
  }
  return {};
}

Result<size_t> StreamSocket::write_some(std::span<const iovec> vectors) {
  const msghdr message = message_of(vectors);
  while (true) {
    if (cancelled()) return cancelled_error("sending");
    add(send_calls_, 1);
    const ssize_t count = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      add(bytes_sent_, static_cast<uint64_t>(count));
      return static_cast<size_t>(count);
    }
    if (errno == EINTR) continue;
    if (!would_block(errno)) return failed(errno, "sending");
    GODWIT_TRY(wait_for_progress(POLLOUT, "sending"));
  }
}

Result<std::optional<size_t>> StreamSocket::read_now(std::span<const iovec> vectors) {
  msghdr message = message_of(vectors);
  while (true) {
    if (cancelled()) return cancelled_error("receiving");
    add(receive_calls_, 1);
    const ssize_t count = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    if (count > 0) add(bytes_received_, static_cast<uint64_t>(count));
    // The end of the stream may be our own shutdown().
    if (count == 0 && cancelled()) return cancelled_error("receiving");
    if (count >= 0) return std::optional<size_t>(static_cast<size_t>(count));
    if (would_block(errno)) return std::optional<size_t>();
    if (errno != EINTR) return failed(errno, "receiving");
  }
}

Result<size_t> StreamSocket::read_some(std::span<const iovec> vectors, size_t wanted) {
  while (true) {
    GODWIT_ASSIGN(const auto count, read_now(vectors));
    if (count) return *count;
    wake_when_readable(wanted);
    const Result<> progress = wait_for_progress(POLLIN, "receiving");
    if (progress) continue;
    // Fewer bytes than would have woken us are progress too.
    GODWIT_ASSIGN(const auto late, read_now(vectors));
    if (late) return *late;
    return progress.error();
  }
}

void StreamSocket::wake_when_readable(size_t wanted) {
  if (!tcp_) return;
  const int bytes = static_cast<int>(std::clamp<size_t>(wanted, 1, kWakeBytes));
  if (bytes == wake_bytes_) return;
  set_wake_bytes(fd_.get(), bytes);
  wake_bytes_ = bytes;
}

Result<bool> StreamSocket::wait_readable(Nanoseconds limit) {
  wake_when_readable(1);
  return wait(POLLIN, std::min(deadline_after(limit), deadline_), "waiting for bytes");
}

Result<> StreamSocket::wait_for_progress(short events, std::string_view doing) {
  const TimePoint idle_until = deadline_after(timeout_);
  GODWIT_ASSIGN(const bool ready, wait(events, std::min(idle_until, deadline_), doing));
  if (ready) return {};
  if (deadline_ <= idle_until) {
    return make_error(Errc::kTimeout, "connection to {}: not done in time while {}", peer_, doing);
  }
  return make_error(Errc::kTimeout, "connection to {}: no byte moved for {:.1f} s while {}", peer_,
                    to_seconds(timeout_), doing);
}

Result<bool> StreamSocket::wait(short events, TimePoint deadline, std::string_view doing) {
  while (true) {
    // shutdown() sets the flag before it wakes poll, so one of the two is seen.
    if (cancelled()) return cancelled_error(doing);
    const auto left = time_left(deadline);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    const timespec limit{static_cast<time_t>(seconds.count()),
                         static_cast<long>((left - seconds).count())};
    pollfd entry{fd_.get(), events, 0};
    const int ready = ::ppoll(&entry, 1, deadline == TimePoint::max() ? nullptr : &limit, nullptr);
    if (cancelled()) return cancelled_error(doing);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return failed(errno, doing);
    if (ready == 0 && time_left(deadline) == Nanoseconds::zero()) return false;
  }
}

void StreamSocket::shutdown() noexcept {
  cancelled_.store(true, std::memory_order_release);
  ::shutdown(fd_.get(), SHUT_RDWR);
}

ChannelStats StreamSocket::stats() const {
  return {.bytes_sent = bytes_sent_.load(std::memory_order_relaxed),
          .bytes_received = bytes_received_.load(std::memory_order_relaxed),
          .send_calls = send_calls_.load(std::memory_order_relaxed),
          .receive_calls = receive_calls_.load(std::memory_order_relaxed)};
}

Error StreamSocket::closed_by_peer(std::string_view doing) const {
  return make_error(Errc::kIo, "connection to {} closed by the peer while {}", peer_, doing);
}

Error StreamSocket::cancelled_error(std::string_view doing) const {
  return make_error(Errc::kCancelled, "connection to {} shut down here while {}", peer_, doing);
}

Error StreamSocket::failed(int errno_value, std::string_view doing) const {
  if (cancelled()) return cancelled_error(doing);
  if (errno_value == EPIPE || errno_value == ECONNRESET) return closed_by_peer(doing);
  if (errno_value == ETIMEDOUT) {
    return make_error(Errc::kTimeout,
                      "connection to {}: the peer's host did not answer for {:.1f} s while {}",
                      peer_, to_seconds(timeout_), doing);
  }
  return make_error(Errc::kIo, "connection to {} lost while {} (errno {}: {})", peer_, doing,
                    errno_value, std::generic_category().message(errno_value));
}

}  // namespace godwit::migration
