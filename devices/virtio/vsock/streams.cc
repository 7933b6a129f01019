#include "devices/virtio/vsock/streams.h"

#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "vmm/base/syscall.h"

namespace godwit::devices::virtio::vsock {
namespace {

constexpr int kBacklog = 64;
constexpr std::string_view kConnect = "CONNECT ";
constexpr size_t kLongestGreeting = 32;
// Ports of the host's ends: above what programs choose for themselves.
constexpr uint32_t kFirstHostPort = 1u << 30;
constexpr size_t kEventsAtOnce = 32;

// Streams of a guest that came from elsewhere may not be mistaken for new ones.
uint32_t some_host_port() {
  uint32_t value = 0;
  if (::getrandom(&value, sizeof value, 0) < 0) value = 0;
  return kFirstHostPort | (value & (kFirstHostPort - 1));
}

std::optional<uint32_t> parse_greeting(std::string_view line) {
  if (!line.starts_with(kConnect)) return {};
  line.remove_prefix(kConnect.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  uint32_t port = 0;
  const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), port);
  if (problem != std::errc() || end != line.data() + line.size()) return {};
  return port;
}

}  // namespace

Result<Streams> Streams::open(uint64_t guest_cid, const std::string& path) {
  GODWIT_TRY(unix_address("--vsock", path + "_4294967295"));
  GODWIT_ASSIGN(UnixListener listener, UnixListener::open("--vsock", path, kBacklog));
  return Streams(guest_cid, std::move(listener));
}

Streams::Streams(uint64_t guest_cid, UnixListener listener)
    : guest_cid_(guest_cid),
      listener_(std::move(listener)),
      epoll_(check_syscall(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      next_host_port_(some_host_port()) {
  watch(listener_.fd(), EPOLLIN, true);
  listening_ = true;
}

void Streams::watch(int fd, uint32_t events, bool fresh) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  check_syscall(::epoll_ctl(epoll_.get(), fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event),
                "epoll_ctl");
}

void Streams::serve_host() {
  std::array<epoll_event, kEventsAtOnce> events;
  const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < n; ++i) {
    const int fd = events[static_cast<size_t>(i)].data.fd;
    if (fd == listener_.fd()) {
      accept_host();
      continue;
    }
    const auto greeting = std::find_if(greetings_.begin(), greetings_.end(),
                                       [&](const Greeting& g) { return g.socket.get() == fd; });
    if (greeting != greetings_.end()) {
      read_greeting(greeting);
      continue;
    }
    // It may have gone with an earlier one of this round.
    const auto ports = by_fd_.find(fd);
    if (ports == by_fd_.end()) continue;
    const auto at = connections_.find(ports->second);
    if (at == connections_.end()) continue;
    at->second.connection.on_events(events[static_cast<size_t>(i)].events);
    settle(at);
  }
}

void Streams::accept_host() {
  UniqueFd socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) {
    if (errno != EMFILE && errno != ENFILE) return;
    // Until a descriptor is given back: the listener would be reported for ever.
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.fd(), nullptr);
    listening_ = false;
    return;
  }
  if (greetings_.size() >= kMostGreetings) end_greeting(greetings_.begin());
  watch(socket.get(), EPOLLIN, true);
  greetings_.push_back({std::move(socket), {}});
}

void Streams::end_greeting(std::list<Greeting>::iterator greeting) {
  if (greeting->socket) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, greeting->socket.get(), nullptr);
  greetings_.erase(greeting);
  if (!listening_) watch(listener_.fd(), EPOLLIN, true);
  listening_ = true;
}

// What follows the line belongs to the stream, so no more than the line is taken.
void Streams::read_greeting(std::list<Greeting>::iterator greeting) {
  std::array<char, kLongestGreeting> chunk;
  const int fd = greeting->socket.get();
  const size_t want = kLongestGreeting - greeting->line.size();
  const ssize_t n = ::recv(fd, chunk.data(), want, MSG_PEEK);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return end_greeting(greeting);
  const std::string_view seen(chunk.data(), static_cast<size_t>(n));
  const size_t newline = seen.find('\n');
  const size_t take = newline == std::string_view::npos ? seen.size() : newline + 1;
  if (::recv(fd, chunk.data(), take, 0) != static_cast<ssize_t>(take))
    return end_greeting(greeting);
  greeting->line += seen.substr(0, take);
  if (newline == std::string_view::npos) {
    if (greeting->line.size() >= kLongestGreeting) end_greeting(greeting);
    return;
  }
  greeting->line.pop_back();
  const auto port = parse_greeting(greeting->line);
  if (!port) return end_greeting(greeting);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  UniqueFd socket = std::move(greeting->socket);
  end_greeting(greeting);
  connect_to_guest(std::move(socket), *port);
}

std::optional<uint32_t> Streams::free_host_port(uint32_t guest_port) {
  for (size_t i = 0; i <= kMostConnections; ++i) {
    const uint32_t port = next_host_port_;
    next_host_port_ = kFirstHostPort | ((port + 1) & (kFirstHostPort - 1));
    if (!connections_.contains({port, guest_port})) return port;
  }
  return {};
}

void Streams::connect_to_guest(UniqueFd socket, uint32_t guest_port) {
  const auto host_port = free_host_port(guest_port);
  if (!host_port || !make_room()) return;
  add(Connection({*host_port, guest_port}, std::move(socket), Connection::Origin::kHost));
}

void Streams::connect_to_host(const Packet& packet) {
  const Ports ports{packet.destination_port, packet.source_port};
  const auto address = unix_address("--vsock", listener_.path() + "_" + std::to_string(ports.host));
  UniqueFd socket = new_unix_socket();
  // A Unix socket is connected at once or not at all.
  if (!address || !socket || !make_room() ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0)
    return reply_reset(packet);
  Connection connection(ports, std::move(socket), Connection::Origin::kGuest);
  connection.note_credit(packet);
  add(std::move(connection));
}

bool Streams::make_room() {
  if (connections_.size() < kMostConnections) return true;
  const auto idle = [&](auto&& what) {
    return std::find_if(connections_.begin(), connections_.end(),
                        [&](const auto& entry) { return what(entry.second.connection); });
  };
  auto victim = idle([](const Connection& c) { return c.lingers(); });
  if (victim == connections_.end())
    victim = idle([](const Connection& c) { return c.unanswered(); });
  if (victim == connections_.end() || !has_room()) return false;
  reset(victim);
  return true;
}

void Streams::add(Connection connection) {
  const Ports ports = connection.ports();
  const auto [at, added] = connections_.emplace(ports, Entry{std::move(connection)});
  if (added) settle(at);
}

// After anything has happened to a stream: epoll and the queue of senders follow.
void Streams::settle(Entries::iterator at) {
  Entry& entry = at->second;
  if (entry.connection.finished()) return reset(at);
  const int fd = entry.connection.fd();
  const Connection::Interest wanted = entry.connection.interest();
  if (fd >= 0 && !(wanted == entry.interest)) {
    if (wanted.watched) {
      watch(fd, wanted.events, !entry.interest.watched);
      by_fd_[fd] = at->first;
    } else {
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
      by_fd_.erase(fd);
    }
  } else if (fd < 0 && entry.interest.watched) {
    forget_closed(at->first);
  }
  entry.interest = wanted;
  if (entry.sending || !entry.connection.wants_to_send()) return;
  entry.sending = true;
  senders_.push_back(at->first);
}

// Its socket is closed, so epoll has forgotten it.
void Streams::forget_closed(const Ports& ports) {
  std::erase_if(by_fd_, [&](const auto& item) { return item.second == ports; });
}

void Streams::remove(Entries::iterator at) {
  if (at->second.sending) std::erase(senders_, at->first);
  if (at->second.interest.watched) forget_closed(at->first);
  connections_.erase(at);
  if (!listening_) watch(listener_.fd(), EPOLLIN, true);
  listening_ = true;
}

void Streams::reset(Entries::iterator at) {
  const Ports ports = at->first;
  remove(at);
  reply_reset({.source_port = ports.guest, .destination_port = ports.host, .type = kStream});
}

void Streams::reply_reset(const Packet& to) {
  replies_.push_back({.source_cid = kHostCid,
                      .destination_cid = guest_cid_,
                      .source_port = to.destination_port,
                      .destination_port = to.source_port,
                      .type = to.type,
                      .operation = kReset});
}

void Streams::receive(const Packet& packet, const Chain& chain) {
  // 5.10.6.2: what is not between the guest and the host is nobody's.
  if (packet.source_cid != guest_cid_ || packet.destination_cid != kHostCid) return;
  const auto at = connections_.find({packet.destination_port, packet.source_port});
  if (at == connections_.end()) {
    if (packet.operation == kReset) return;
    if (packet.operation == kRequest && packet.type == kStream) return connect_to_host(packet);
    return reply_reset(packet);
  }
  switch (at->second.connection.receive(packet, chain)) {
    case Connection::Verdict::kGoesOn:
      return settle(at);
    case Connection::Verdict::kReset:
      return reset(at);
    case Connection::Verdict::kOver:
      return remove(at);
  }
}

uint32_t Streams::fill(const Chain& chain) {
  if (!replies_.empty()) {
    write_packet(chain, replies_.front());
    replies_.pop_front();
    return kHeaderBytes;
  }
  while (!senders_.empty()) {
    const auto at = connections_.find(senders_.front());
    senders_.pop_front();
    at->second.sending = false;
    const uint32_t written = at->second.connection.fill(chain, guest_cid_);
    settle(at);  // queues it again, behind the others, if it has more
    if (written != 0) return written;
  }
  return 0;
}

void Streams::close_all() {
  while (!connections_.empty()) remove(connections_.begin());
  replies_.clear();
}

}  // namespace godwit::devices::virtio::vsock
