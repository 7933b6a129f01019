#include "tests/e2e/relay.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "vmm/base/syscall.h"

namespace godwit::e2e {
namespace {

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

UniqueFd tcp_socket() {
  return UniqueFd(check_syscall(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
}

// All of it, or false when the other side is gone. Blocking: the receiver reads, or it is killed.
bool send_all(int fd, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t n = ::send(fd, bytes, count, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes += n;
    count -= static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

Relay::Relay(const std::string& target, RelayFault fault)
    : fault_(std::move(fault)),
      target_port_(static_cast<uint16_t>(std::stoi(target.substr(target.rfind(':') + 1)))),
      listener_(tcp_socket()),
      stop_(check_syscall(::eventfd(0, EFD_CLOEXEC), "eventfd")) {
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  check_syscall(::bind(listener_.get(), generic, size), "bind");
  check_syscall(::listen(listener_.get(), 100), "listen");
  check_syscall(::getsockname(listener_.get(), generic, &size), "getsockname");
  url_ = fmt::format("tcp://127.0.0.1:{}", ntohs(address.sin_port));
  thread_ = std::jthread([this] { run(); });
}

Relay::~Relay() {
  const uint64_t one = 1;
  check_syscall(::write(stop_.get(), &one, sizeof(one)), "write to an eventfd");
}

void Relay::run() {
  for (;;) {
    std::vector<pollfd> polled{{stop_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const Pair& pair : pairs_) {
      // A negative descriptor is passed over.
      polled.push_back({pair.dead ? -1 : pair.source.get(), POLLIN, 0});
      polled.push_back({pair.dead ? -1 : pair.target.get(), POLLIN, 0});
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[0].revents != 0) return;
    std::vector<Pair> kept;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      Pair& pair = pairs_[i];
      bool alive = true;
      if (polled[2 + 2 * i].revents != 0) alive = pass(pair, true);
      if (alive && polled[3 + 2 * i].revents != 0) alive = pass(pair, false);
      if (alive) kept.push_back(std::move(pair));
    }
    pairs_ = std::move(kept);
    if (breaking_) break_link();
    if (polled[1].revents != 0) accept_one();
  }
}

void Relay::accept_one() {
  UniqueFd source(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!source) return;
  const bool broken = faulty_ && !fault_.heals;
  if (broken && fault_.kind == RelayFault::Kind::kClose) return;
  UniqueFd target = tcp_socket();
  const sockaddr_in address = loopback(target_port_);
  if (::connect(target.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return;
  pairs_.push_back({std::move(source), std::move(target), broken});
}

bool Relay::pass(Pair& pair, bool from_source) {
  if (breaking_) return true;
  std::array<char, 65536> buffer;
  const UniqueFd& from = from_source ? pair.source : pair.target;
  const UniqueFd& to = from_source ? pair.target : pair.source;
  const ssize_t n = ::recv(from.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  const std::string_view bytes(buffer.data(), static_cast<size_t>(n));
  breaking_ = from_source && !faulty_ && brings_fault(bytes);
  return (breaking_ && !fault_.deliver) || send_all(to.get(), bytes.data(), bytes.size());
}

bool Relay::brings_fault(std::string_view bytes) {
  if (fault_.kind == RelayFault::Kind::kNone) return false;
  bytes_ += bytes.size();
  return bytes_ > fault_.after_bytes ||
         (!fault_.at_text.empty() && bytes.find(fault_.at_text) != std::string_view::npos);
}

void Relay::break_link() {
  breaking_ = false;
  faulty_ = true;
  if (fault_.kind == RelayFault::Kind::kClose) pairs_.clear();
  for (Pair& pair : pairs_) pair.dead = true;
}

}  // namespace godwit::e2e
