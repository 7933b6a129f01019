// A connection to the peer: an ordered stream of bytes, plain or TLS 1.3.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"

namespace godwit::migration {

// Counted since the channel was made.
struct ChannelStats {
  uint64_t bytes_sent = 0;      // on the wire, TLS framing included
  uint64_t bytes_received = 0;  // on the wire
  uint64_t send_calls = 0;      // system calls that moved bytes or tried to
  uint64_t receive_calls = 0;
};

using ConstBuffer = std::span<const std::byte>;
using MutableBuffer = std::span<std::byte>;

// Threads: one thread at a time sends or receives (a TLS connection is one state machine);
// shutdown() may come from any thread at any time.
// Errors: kIo (connection lost, reset, closed by the peer), kTimeout (no byte moved for the
// channel's timeout), kCancelled (shutdown() was called here).
class Channel {
 public:
  virtual ~Channel() = default;

  // Sends all buffers, in order, as one gathered write where that saves system calls. Blocks: that
  // is the backpressure. May keep bytes back until flush() or the next send.
  virtual Result<> send(std::span<const ConstBuffer> buffers) = 0;
  Result<> send(ConstBuffer buffer) { return send(std::span<const ConstBuffer>(&buffer, 1)); }
  virtual Result<> flush() = 0;

  // Fills all buffers, in order.
  virtual Result<> receive(std::span<const MutableBuffer> buffers) = 0;
  Result<> receive(MutableBuffer buffer) {
    return receive(std::span<const MutableBuffer>(&buffer, 1));
  }

  // Waits until receive() would find at least one byte (or the end of the stream); false when
  // `limit` passes first.
  virtual Result<bool> wait_readable(Nanoseconds limit) = 0;

  // How long a send or receive may go without moving a byte. Default: 10 s.
  virtual void set_timeout(Nanoseconds timeout) = 0;

  // Ends the connection; whoever blocks in it returns with kCancelled at once.
  virtual void shutdown() noexcept = 0;

  // Whether the transport itself detects changed bytes (TLS): then frames need no checksum of
  // their own payload.
  [[nodiscard]] virtual bool authenticated() const = 0;
  [[nodiscard]] virtual ChannelStats stats() const = 0;
  // For people: "tcp://10.0.0.2:7000 (TLS_AES_256_GCM_SHA384, CN=host2)".
  [[nodiscard]] virtual std::string peer() const = 0;
};

// Makes connections to one target; each call makes a new one, ready to carry bytes (connected, TLS
// handshake done, peer checked). Threads: one caller at a time; cancel() from any.
class Connector {
 public:
  virtual ~Connector() = default;
  virtual Result<std::unique_ptr<Channel>> connect(Nanoseconds limit) = 0;
  virtual void cancel() noexcept = 0;
};

// The other end. A connection that fails its handshake is logged and dropped inside accept(): a
// port scan must not end a waiting target. Errors: kTimeout, kCancelled.
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  virtual Result<std::unique_ptr<Channel>> accept(Nanoseconds limit) = 0;
  virtual void cancel() noexcept = 0;
};

}  // namespace godwit::migration
