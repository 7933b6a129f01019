// The encrypted channel: TLS 1.3 by OpenSSL, directly on the socket.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "migration/transport/stream_socket.h"
#include "migration/transport/tls_context.h"
#include "migration/transport/tls_peer_check.h"
#include "migration/transport/tls_socket_bio.h"

namespace godwit::migration {

// Every record but the last before a flush() carries 16 KiB: small sends fill up a record first,
// large ones are encrypted from where they lie. kTlsRecordsPerSend records go out in one system
// call. Received bytes are fetched in as large pieces. After an error the stream has lost its
// place: every later call returns that error.
// Errors: as Channel says. A stream that ends without close_notify is kIo.
class TlsChannel final : public Channel {
 public:
  // AES-GCM may protect 2^24.5 full records with one key (RFC 8446 section 5.5), about 390 GB: the
  // keys change long before.
  static constexpr uint64_t kKeyUpdateBytes = uint64_t{64} << 30;

  // Does the handshake by `deadline`. `dialed_host`: what the client's user named, to be found in
  // the server's certificate; empty on a server and for Unix sockets. The socket is shared so that
  // another thread can shut it down meanwhile.
  // Errors: kPermission (a side refused the other's certificate), kIncompatible (no TLS 1.3),
  // kProtocol (plaintext, or no handshake at all), kTimeout, kCancelled, kIo.
  static Result<std::unique_ptr<TlsChannel>> handshake(std::shared_ptr<StreamSocket> socket,
                                                       const TlsContext& context,
                                                       std::string_view dialed_host,
                                                       TimePoint deadline);
  // Says goodbye (close_notify) if that takes no waiting and nothing unflushed is thrown away.
  ~TlsChannel() override;

  using Channel::receive;
  using Channel::send;
  Result<> send(std::span<const ConstBuffer> buffers) override;
  Result<> flush() override;
  Result<> receive(std::span<const MutableBuffer> buffers) override;
  Result<bool> wait_readable(Nanoseconds limit) override;
  void set_timeout(Nanoseconds timeout) override { socket_->set_timeout(timeout); }
  void shutdown() noexcept override { socket_->shutdown(); }
  [[nodiscard]] bool authenticated() const override { return true; }
  [[nodiscard]] ChannelStats stats() const override { return socket_->stats(); }
  [[nodiscard]] std::string peer() const override { return description_; }

  // Sent bytes after which this side changes its key.
  void set_key_update_interval(uint64_t bytes) { key_update_interval_ = bytes; }

 private:
  TlsChannel(std::shared_ptr<StreamSocket> socket, const TlsContext& context,
             std::string_view dialed_host);
  Result<> shake_hands(TimePoint deadline);
  Result<> encrypt(ConstBuffer bytes);
  Result<> update_key_when_due(size_t bytes);
  // Why the OpenSSL call with this result failed; remembered.
  Error fail(int result, std::string_view doing);
  Error explain(int result, std::string_view doing);
  Error explain_lost_stream(std::string_view doing) const;
  // A peer that refuses us says why and hangs up: after a failed send the reason may still be there
  // to be read.
  std::optional<Error> waiting_alert();

  std::shared_ptr<StreamSocket> socket_;
  std::unique_ptr<TlsSocketBio> bio_;
  SslPtr ssl_;
  std::unique_ptr<TlsPeerCheck> check_;
  std::string description_;
  bool established_ = false;
  std::vector<std::byte> record_;  // plaintext that waits to fill a record
  size_t record_used_ = 0;
  uint64_t key_update_interval_ = kKeyUpdateBytes;
  uint64_t sent_with_key_ = 0;
  std::optional<Error> failure_;
};

}  // namespace godwit::migration
