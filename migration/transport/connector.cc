#include "migration/transport/connector.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "migration/transport/cancellation.h"
#include "migration/transport/deadline.h"
#include "migration/transport/resolve.h"
#include "migration/transport/socket_channel.h"
#include "migration/transport/tls_channel.h"

namespace godwit::migration {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// How often to look whether a Unix listener's full queue has room: the kernel has no event for it.
constexpr auto kUnixRetry = std::chrono::milliseconds(10);

class SocketConnector final : public Connector {
 public:
  SocketConnector(Endpoint endpoint, std::shared_ptr<const TlsContext> tls)
      : endpoint_(std::move(endpoint)), tls_(std::move(tls)) {}

  Result<std::unique_ptr<Channel>> connect(Nanoseconds limit) override;
  void cancel() noexcept override { cancellation_.cancel(); }

 private:
  Result<UniqueFd> connect_tcp(TimePoint deadline);
  Result<UniqueFd> connect_unix(TimePoint deadline);
  // Runs the one operation that will set `outcome`; operation_aborted when cancelled, timed_out
  // past the deadline. `abort` makes the operation end.
  error_code run(std::optional<error_code>& outcome, TimePoint deadline,
                 const std::function<void()>& abort);
  error_code connect_address(tcp::socket& socket, const tcp::endpoint& address, TimePoint deadline);
  [[nodiscard]] Error failed(const error_code& error, const std::string& where) const;
  [[nodiscard]] Error cancelled() const;

  Endpoint endpoint_;
  std::shared_ptr<const TlsContext> tls_;
  Cancellation cancellation_;
  asio::io_context io_;
};

Result<std::unique_ptr<Channel>> SocketConnector::connect(Nanoseconds limit) {
  const TimePoint deadline = deadline_after(limit);
  if (cancellation_.cancelled()) return cancelled();
  const bool tcp = endpoint_.kind == Endpoint::Kind::kTcp;
  GODWIT_ASSIGN(UniqueFd fd, tcp ? connect_tcp(deadline) : connect_unix(deadline));
  auto socket = std::make_shared<StreamSocket>(std::move(fd), endpoint_.to_string());
  if (!tls_) return std::make_unique<SocketChannel>(std::move(socket));
  // A cancel that comes later must not end the connection: it is the caller's then.
  const Cancellation::Scope scope(cancellation_, [&socket] { socket->shutdown(); });
  GODWIT_ASSIGN(auto channel,
                TlsChannel::handshake(socket, *tls_, tcp ? endpoint_.host : "", deadline));
  return channel;
}

error_code SocketConnector::run(std::optional<error_code>& outcome, TimePoint deadline,
                                const std::function<void()>& abort) {
  {
    io_.restart();
    const Cancellation::Scope scope(cancellation_, [this] { io_.stop(); });
    io_.run_until(deadline);
  }
  if (outcome) return *outcome;
  abort();
  io_.restart();
  io_.run();
  if (cancellation_.cancelled()) return asio::error::operation_aborted;
  return asio::error::timed_out;
}

error_code SocketConnector::connect_address(tcp::socket& socket, const tcp::endpoint& address,
                                            TimePoint deadline) {
  std::optional<error_code> outcome;
  socket.async_connect(address, [&outcome](const error_code& error) { outcome = error; });
  return run(outcome, deadline, [&socket] {
    error_code ignored;
    socket.close(ignored);
  });
}

Result<UniqueFd> SocketConnector::connect_tcp(TimePoint deadline) {
  GODWIT_ASSIGN(const auto addresses, resolve(endpoint_, deadline, cancellation_));
  std::optional<Error> last;
  for (size_t i = 0; i < addresses.size(); ++i) {
    // A silent address must not use up the time of those after it.
    const auto share = time_left(deadline) / static_cast<int64_t>(addresses.size() - i);
    tcp::socket socket(io_);
    const auto error = connect_address(socket, addresses[i], deadline_after(share));
    if (!error) return UniqueFd(socket.release());
    if (cancellation_.cancelled()) return cancelled();
    const auto address = addresses[i].address().to_string();
    last = failed(error, address == endpoint_.host ? "" : fmt::format(" ({})", address));
  }
  return *last;
}

Result<UniqueFd> SocketConnector::connect_unix(TimePoint deadline) {
  const asio::local::stream_protocol::endpoint address(endpoint_.path);
  while (true) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return error_from_errno(errno, "cannot make a Unix socket");
    // By hand: Asio takes EAGAIN (the listener's queue is full) for a connection under way.
    if (::connect(fd.get(), address.data(), static_cast<socklen_t>(address.size())) == 0) return fd;
    const error_code error(errno, boost::system::system_category());
    if (error != asio::error::try_again) return failed(error, "");
    if (time_left(deadline) == Nanoseconds::zero()) return failed(asio::error::timed_out, "");
    std::optional<error_code> outcome;
    asio::steady_timer timer(io_, kUnixRetry);
    timer.async_wait([&outcome](const error_code& waited) { outcome = waited; });
    run(outcome, TimePoint::max(), [&timer] { timer.cancel(); });
    if (cancellation_.cancelled()) return cancelled();
  }
}

Error SocketConnector::failed(const error_code& error, const std::string& where) const {
  Errc code = Errc::kIo;
  std::string hint;
  if (error == asio::error::timed_out) {
    code = Errc::kTimeout;
    hint = "no answer in time: is the address right, and is a firewall in between";
  } else if (error == asio::error::connection_refused) {
    hint = "nobody listens there: is 'godwit receive' running";
  } else if (error == boost::system::errc::no_such_file_or_directory) {
    code = Errc::kNotFound;
    hint = "there is no such socket: is 'godwit receive' running";
  } else if (error == boost::system::errc::permission_denied) {
    code = Errc::kPermission;
    hint = "this user may not connect there";
  } else {
    hint = error.message();
  }
  return make_error(code, "cannot connect to {}{}: {}", endpoint_.to_string(), where, hint);
}

Error SocketConnector::cancelled() const {
  return make_error(Errc::kCancelled, "connecting to {} was cancelled", endpoint_.to_string());
}

}  // namespace

std::unique_ptr<Connector> make_connector(Endpoint endpoint,
                                          std::shared_ptr<const TlsContext> tls) {
  return std::make_unique<SocketConnector>(std::move(endpoint), std::move(tls));
}

}  // namespace godwit::migration
