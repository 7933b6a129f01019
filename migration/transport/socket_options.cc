#include "migration/transport/socket_options.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <climits>

#include "vmm/base/syscall.h"

namespace godwit::migration {
namespace {

// Keep-alive: first probe after 5 s of silence, then each 2 s, dead after 3 unanswered.
constexpr int kKeepIdleSeconds = 5;
constexpr int kKeepIntervalSeconds = 2;
constexpr int kKeepProbes = 3;

// Bytes that may wait in the socket beyond what TCP has on its way. The send buffer still grows to
// whatever the path's bandwidth-delay product needs (SO_SNDBUF would freeze it), but a blocked
// send() then means "the link is full", not "some megabytes of buffer are": the rate measured at
// the sender is the link's, and what must drain at the switchover is the window and this, no more.
constexpr int kNotSentLowWaterBytes = 1 << 20;

void set_option(int fd, int level, int name, int value, const char* what) {
  check_syscall(::setsockopt(fd, level, name, &value, sizeof(value)), what);
}

}  // namespace

bool is_tcp(int fd) {
  int domain = 0;
  socklen_t size = sizeof(domain);
  check_syscall(::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size), "getsockopt(SO_DOMAIN)");
  return domain == AF_INET || domain == AF_INET6;
}

void set_stream_options(int fd) {
  const int flags = check_syscall(::fcntl(fd, F_GETFL), "fcntl(F_GETFL)");
  check_syscall(::fcntl(fd, F_SETFL, flags | O_NONBLOCK), "fcntl(F_SETFL)");
  check_syscall(::fcntl(fd, F_SETFD, FD_CLOEXEC), "fcntl(F_SETFD)");
  if (!is_tcp(fd)) return;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "setsockopt(TCP_NODELAY)");
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "setsockopt(SO_KEEPALIVE)");
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds, "setsockopt(TCP_KEEPIDLE)");
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepIntervalSeconds, "setsockopt(TCP_KEEPINTVL)");
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepProbes, "setsockopt(TCP_KEEPCNT)");
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kNotSentLowWaterBytes,
             "setsockopt(TCP_NOTSENT_LOWAT)");
}

void set_wake_bytes(int fd, int bytes) {
  set_option(fd, SOL_SOCKET, SO_RCVLOWAT, bytes, "setsockopt(SO_RCVLOWAT)");
}

void set_user_timeout(int fd, Nanoseconds timeout) {
  if (!is_tcp(fd)) return;
  // 0 would mean the system's default of many minutes.
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
  const int value = static_cast<int>(std::clamp<int64_t>(ms, 1, INT_MAX));
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, value, "setsockopt(TCP_USER_TIMEOUT)");
}

}  // namespace godwit::migration
