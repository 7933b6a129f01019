// Waits for the other end of a migration.
#pragma once
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>

#include "migration/channel.h"
#include "migration/transport/cancellation.h"
#include "migration/transport/endpoint.h"
#include "migration/transport/handshake_pool.h"
#include "migration/transport/tls_context.h"
#include "migration/transport/unix_path.h"

namespace godwit::migration {

struct AcceptorOptions {
  // How long a client may take for its TLS handshake. Handshakes run side by side
  // (HandshakePool), so a slow client does not keep a good one waiting.
  Nanoseconds handshake_limit = std::chrono::seconds(5);
};

// Listens from its construction to its destruction, with backlog; a name stands for its first
// address. A TCP endpoint of IPv6's any
// address takes IPv4 too. A Unix socket has mode 0600 from the start, replaces one that a dead
// process left, and is removed at the end.
// cancel() is sticky. Errors of accept(): kTimeout, kCancelled, kExhausted (no descriptors: it may
// be tried again), kIo.
class SocketAcceptor final : public Acceptor {
 public:
  // TLS with `tls` (of role kServer), plaintext when that is null.
  // Errors: kAlreadyExists (port or path taken), kPermission, kInvalidArgument (no address of this
  // host), kNotFound (no such host name, no such directory), kTimeout (the name lookup).
  static Result<std::unique_ptr<SocketAcceptor>> listen(const Endpoint& endpoint,
                                                        std::shared_ptr<const TlsContext> tls,
                                                        AcceptorOptions options = {});
  ~SocketAcceptor() override;

  Result<std::unique_ptr<Channel>> accept(Nanoseconds limit) override;
  void cancel() noexcept override { cancellation_.cancel(); }
  // Where it listens: with the port that was chosen when port 0 was asked for.
  [[nodiscard]] const Endpoint& local_endpoint() const { return endpoint_; }

 private:
  using Protocol = boost::asio::generic::stream_protocol;
  SocketAcceptor(Endpoint endpoint, std::shared_ptr<const TlsContext> tls,
                 const AcceptorOptions& options);
  Result<> open(const Protocol::endpoint& address);
  Result<> open_tcp();
  Result<> open_unix();
  void start_accepting();
  // What became of the last accepted socket: a plaintext channel, null for nothing yet (a handshake
  // may have begun).
  Result<std::unique_ptr<Channel>> take_incoming();
  [[nodiscard]] std::string name_of_peer() const;

  Endpoint endpoint_;
  std::shared_ptr<const TlsContext> tls_;
  Cancellation cancellation_;
  SocketFile file_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::basic_socket_acceptor<Protocol> acceptor_;
  Protocol::socket incoming_;
  Protocol::endpoint incoming_peer_;
  std::optional<boost::system::error_code> accepted_;  // async_accept has ended so
  bool accepting_ = false;
  std::optional<HandshakePool> handshakes_;  // TLS only; last: its threads use io_
};

}  // namespace godwit::migration
