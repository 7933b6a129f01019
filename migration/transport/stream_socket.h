// A connected stream socket (TCP or Unix) that blocks with a time-out, counts, and can be ended
// from another thread. Channels are built on it.
#pragma once
#include <poll.h>
#include <sys/uio.h>

#include <atomic>
#include <optional>
#include <span>
#include <string>

#include "migration/channel.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::migration {

inline constexpr Nanoseconds kDefaultIoTimeout = std::chrono::seconds(10);
// Enough to be worth a wake-up, and little beside any receive buffer.
inline constexpr size_t kWakeBytes = 128 << 10;

// Threads: one at a time uses it; shutdown(), cancelled() and stats() may come from any thread
// while the object lives (the owner joins those threads before destroying it).
// Errors: as Channel says; each names the peer, the direction and the reason.
class StreamSocket {
 public:
  // `fd` is connected; it becomes non-blocking and gets the options below. `peer` is for people.
  StreamSocket(UniqueFd fd, std::string peer);

  // Sends every byte of `vectors` (used up as they go), at most IOV_MAX of them in one system call.
  Result<> write_all(std::span<iovec> vectors);
  // Receives at least one byte; 0 at the end of the stream. Where it must wait it is woken once
  // `wanted` bytes are there (or kWakeBytes, if fewer; on TCP): not by every packet.
  Result<size_t> read_some(std::span<const iovec> vectors, size_t wanted = 1);
  // Like read_some, but without waiting: no value when nothing is there.
  Result<std::optional<size_t>> read_now(std::span<const iovec> vectors);
  // Whether bytes, the end of the stream or an error can be read before `limit` passes.
  Result<bool> wait_readable(Nanoseconds limit);

  // No read or write goes on longer than `timeout` without moving a byte...
  void set_timeout(Nanoseconds timeout);
  // ...nor at all past `deadline` (a handshake's limit; TimePoint::max() to lift it).
  void set_deadline(TimePoint deadline) { deadline_ = deadline; }

  void shutdown() noexcept;
  [[nodiscard]] bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }

  [[nodiscard]] ChannelStats stats() const;
  [[nodiscard]] const std::string& peer() const { return peer_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  // kIo: "connection to PEER closed by the peer while DOING".
  [[nodiscard]] Error closed_by_peer(std::string_view doing) const;

 private:
  Result<size_t> write_some(std::span<const iovec> vectors);
  // True when `events` can be served before `deadline`.
  Result<bool> wait(short events, TimePoint deadline, std::string_view doing);
  Result<> wait_for_progress(short events, std::string_view doing);
  void wake_when_readable(size_t wanted);
  [[nodiscard]] Error failed(int errno_value, std::string_view doing) const;
  [[nodiscard]] Error cancelled_error(std::string_view doing) const;

  UniqueFd fd_;
  std::string peer_;
  bool tcp_;
  int wake_bytes_ = 1;  // SO_RCVLOWAT as it stands
  Nanoseconds timeout_ = kDefaultIoTimeout;
  TimePoint deadline_ = TimePoint::max();
  std::atomic<bool> cancelled_{false};
  std::atomic<uint64_t> bytes_sent_{0};
  std::atomic<uint64_t> bytes_received_{0};
  std::atomic<uint64_t> send_calls_{0};
  std::atomic<uint64_t> receive_calls_{0};
};

// `vectors` without their first `count` bytes (which they have), and without empty ones in front.
std::span<iovec> drop_front(std::span<iovec> vectors, size_t count);

}  // namespace godwit::migration
