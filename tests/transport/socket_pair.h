// Two connected sockets, and what the channel tests share.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "migration/transport/stream_socket.h"
#include "vmm/base/syscall.h"

namespace godwit::migration {

using SocketPair = std::pair<std::unique_ptr<StreamSocket>, std::unique_ptr<StreamSocket>>;

inline SocketPair unix_pair() {
  int fds[2];
  check_syscall(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair");
  return {std::make_unique<StreamSocket>(UniqueFd(fds[0]), "unix:b"),
          std::make_unique<StreamSocket>(UniqueFd(fds[1]), "unix:a")};
}

inline SocketPair tcp_pair() {
  UniqueFd listener(check_syscall(::socket(AF_INET, SOCK_STREAM, 0), "socket"));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  check_syscall(::bind(listener.get(), raw, size), "bind");
  check_syscall(::listen(listener.get(), 1), "listen");
  check_syscall(::getsockname(listener.get(), raw, &size), "getsockname");
  UniqueFd client(check_syscall(::socket(AF_INET, SOCK_STREAM, 0), "socket"));
  check_syscall(::connect(client.get(), raw, size), "connect");
  UniqueFd server(check_syscall(::accept(listener.get(), nullptr, nullptr), "accept"));
  return {std::make_unique<StreamSocket>(std::move(client), "tcp:server"),
          std::make_unique<StreamSocket>(std::move(server), "tcp:client")};
}

inline std::vector<std::byte> random_bytes(size_t size, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

}  // namespace godwit::migration
