// The plaintext channel: bytes as they are on a TCP or Unix socket.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "migration/transport/stream_socket.h"

namespace godwit::migration {

// Small sends are kept back and go out together, with the first send that makes them
// kCoalesceBytes, or at flush(); what does not fit there is sent from where it lies. Reads go to
// where they belong; up to kReadAheadBytes beyond them are fetched by the same system call. After
// an error the stream has lost its place: every later call returns that error.
class SocketChannel final : public Channel {
 public:
  static constexpr size_t kCoalesceBytes = 64 << 10;
  static constexpr size_t kReadAheadBytes = 16 << 10;

  explicit SocketChannel(std::shared_ptr<StreamSocket> socket);

  using Channel::receive;
  using Channel::send;
  Result<> send(std::span<const ConstBuffer> buffers) override;
  Result<> flush() override;
  Result<> receive(std::span<const MutableBuffer> buffers) override;
  Result<bool> wait_readable(Nanoseconds limit) override;
  void set_timeout(Nanoseconds timeout) override { socket_->set_timeout(timeout); }
  void shutdown() noexcept override { socket_->shutdown(); }
  [[nodiscard]] bool authenticated() const override { return false; }
  [[nodiscard]] ChannelStats stats() const override { return socket_->stats(); }
  [[nodiscard]] std::string peer() const override { return socket_->peer(); }

 private:
  // Sends what was kept back, then `buffers`.
  Result<> send_out(std::span<const ConstBuffer> buffers);
  // Moves read-ahead bytes to the buffers; what is still to be filled becomes vectors_. Returns
  // its size.
  size_t take_read_ahead(std::span<const MutableBuffer> buffers);
  Result<> remember(Result<> result);

  std::shared_ptr<StreamSocket> socket_;
  std::vector<std::byte> unsent_;
  std::vector<std::byte> read_ahead_;
  size_t read_begin_ = 0;  // unread bytes of read_ahead_: [read_begin_, read_end_)
  size_t read_end_ = 0;
  std::vector<iovec> vectors_;
  std::optional<Error> failure_;
};

}  // namespace godwit::migration
