#include "migration/transport/socket_acceptor.h"

#include <sys/stat.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>

#include "migration/transport/deadline.h"
#include "migration/transport/resolve.h"
#include "migration/transport/socket_channel.h"
#include "vmm/base/syscall.h"

namespace godwit::migration {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kLookupLimit = std::chrono::seconds(10);

Error cannot_listen(const Endpoint& endpoint, const error_code& error) {
  Errc code = Errc::kIo;
  std::string why = error.message();
  if (error == asio::error::address_in_use) {
    code = Errc::kAlreadyExists;
    why = fmt::format("the port is taken ('ss -ltnp sport = :{}' shows by whom)", endpoint.port);
  } else if (error == boost::system::errc::address_not_available) {
    code = Errc::kInvalidArgument;
    why = "this host has no such address";
  } else if (error == asio::error::access_denied) {
    code = Errc::kPermission;
    why = endpoint.kind == Endpoint::Kind::kTcp
              ? "this user may not take that port (those below 1024 need root)"
              : "this user may not make a file there";
  } else if (error == boost::system::errc::no_such_file_or_directory) {
    code = Errc::kNotFound;
    why = "the directory does not exist";
  }
  return make_error(code, "cannot listen on {}: {}", endpoint.to_string(), why);
}

tcp::endpoint tcp_endpoint(const asio::generic::stream_protocol::endpoint& generic) {
  tcp::endpoint result;
  std::memcpy(result.data(), generic.data(), std::min(generic.size(), result.capacity()));
  result.resize(std::min(generic.size(), result.capacity()));
  return result;
}

}  // namespace

SocketAcceptor::SocketAcceptor(Endpoint endpoint, std::shared_ptr<const TlsContext> tls,
                               const AcceptorOptions& options)
    : endpoint_(std::move(endpoint)),
      tls_(std::move(tls)),
      work_(io_.get_executor()),
      acceptor_(io_),
      incoming_(io_) {
  if (tls_) {
    // Wakes the thread in accept().
    handshakes_.emplace(tls_, options.handshake_limit, [this] { asio::post(io_, [] {}); });
  }
}

SocketAcceptor::~SocketAcceptor() = default;

Result<std::unique_ptr<SocketAcceptor>> SocketAcceptor::listen(
    const Endpoint& endpoint, std::shared_ptr<const TlsContext> tls, AcceptorOptions options) {
  std::unique_ptr<SocketAcceptor> acceptor(new SocketAcceptor(endpoint, std::move(tls), options));
  const bool tcp = endpoint.kind == Endpoint::Kind::kTcp;
  GODWIT_TRY(tcp ? acceptor->open_tcp() : acceptor->open_unix());
  return acceptor;
}

Result<> SocketAcceptor::open(const Protocol::endpoint& address) {
  error_code error;
  acceptor_.open(address.protocol(), error);
  if (error) return cannot_listen(endpoint_, error);
  if (endpoint_.kind == Endpoint::Kind::kUnix) {
    // The kernel takes the mode of the file from the socket's own, less the umask: it is never
    // open to others, not even for a moment.
    check_syscall(::fchmod(acceptor_.native_handle(), 0600), "fchmod(socket)");
  } else {
    acceptor_.set_option(asio::socket_base::reuse_address(true));
    if (tcp_endpoint(address).address() == asio::ip::address_v6::any()) {
      acceptor_.set_option(asio::ip::v6_only(false), error);
    }
  }
  acceptor_.bind(address, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return cannot_listen(endpoint_, error);
  return {};
}

Result<> SocketAcceptor::open_tcp() {
  GODWIT_ASSIGN(const auto addresses,
                resolve(endpoint_, deadline_after(kLookupLimit), cancellation_));
  GODWIT_TRY(open(addresses.front()));
  endpoint_.port = tcp_endpoint(acceptor_.local_endpoint()).port();
  return {};
}

Result<> SocketAcceptor::open_unix() {
  GODWIT_TRY(clear_stale_socket(endpoint_.path));
  GODWIT_TRY(open(asio::local::stream_protocol::endpoint(endpoint_.path)));
  file_ = SocketFile(endpoint_.path);
  return {};
}

void SocketAcceptor::start_accepting() {
  if (accepting_ || (handshakes_ && handshakes_->full())) return;
  accepting_ = true;
  acceptor_.async_accept(incoming_, incoming_peer_,
                         [this](const error_code& error) { accepted_ = error; });
}

Result<std::unique_ptr<Channel>> SocketAcceptor::accept(Nanoseconds limit) {
  const TimePoint deadline = deadline_after(limit);
  const auto cancelled = [this] {
    return make_error(Errc::kCancelled, "waiting on {} was cancelled", endpoint_.to_string());
  };
  while (true) {
    if (handshakes_) {
      if (auto channel = handshakes_->take()) return channel;
    }
    io_.restart();
    {
      const Cancellation::Scope scope(cancellation_, [this] { io_.stop(); });
      start_accepting();
      io_.run_one_until(deadline);
    }
    if (cancellation_.cancelled()) return cancelled();
    if (accepted_) {
      GODWIT_ASSIGN(auto channel, take_incoming());
      if (channel) return channel;
    } else if (time_left(deadline) == Nanoseconds::zero()) {
      return make_error(Errc::kTimeout, "nobody connected to {} in time", endpoint_.to_string());
    }
  }
}

Result<std::unique_ptr<Channel>> SocketAcceptor::take_incoming() {
  const error_code error = *std::exchange(accepted_, std::nullopt);
  accepting_ = false;
  if (error) {
    const bool full = error == asio::error::no_descriptors || error == asio::error::no_memory ||
                      error == boost::system::errc::too_many_files_open_in_system ||
                      error == asio::error::no_buffer_space;
    return make_error(full ? Errc::kExhausted : Errc::kIo, "cannot accept a connection on {}: {}",
                      endpoint_.to_string(), error.message());
  }
  auto socket = std::make_shared<StreamSocket>(UniqueFd(incoming_.release()), name_of_peer());
  if (!handshakes_) return std::make_unique<SocketChannel>(std::move(socket));
  handshakes_->start(std::move(socket));
  return std::unique_ptr<Channel>();
}

std::string SocketAcceptor::name_of_peer() const {
  if (endpoint_.kind == Endpoint::Kind::kUnix) return endpoint_.to_string();
  const auto peer = tcp_endpoint(incoming_peer_);
  auto address = peer.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return Endpoint{.host = address.to_string(), .port = peer.port()}.to_string();
}

}  // namespace godwit::migration
