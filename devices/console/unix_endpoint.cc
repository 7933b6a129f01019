#include "devices/console/unix_endpoint.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace godwit::devices {
namespace {

constexpr int kBacklog = 4;

UniqueFd new_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return make_error(
        Errc::kInvalidArgument,
        "serial console: the socket path '{}' has {} bytes, at most {} can be; name a "
        "shorter one",
        path, path.size(), sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Makes room at the path: removes a socket that nobody serves.
Result<> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return {};
  if (!S_ISSOCK(found.st_mode)) {
    return make_error(
        Errc::kAlreadyExists,
        "serial console: '{}' exists and is no socket; remove it or name another path", path);
  }
  const UniqueFd probe = new_socket();
  const int result =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (result == 0 || errno != ECONNREFUSED) {
    return make_error(
        Errc::kAlreadyExists,
        "serial console: the socket '{}' is in use by a running process; stop that one "
        "or name another path",
        path);
  }
  ::unlink(path.c_str());
  return {};
}

Error socket_error(const char* what, const std::string& path) {
  return error_from_errno(errno, fmt::format("serial console: {} of the socket '{}' failed; name a "
                                             "path in a directory that this user may write to",
                                             what, path));
}

}  // namespace

Result<std::unique_ptr<ConsoleEndpoint>> UnixEndpoint::open(const std::string& path) {
  GODWIT_ASSIGN(const sockaddr_un address, socket_address(path));
  const auto parent = std::filesystem::path(path).parent_path();
  const std::string directory = parent.empty() ? "." : parent.string();
  // Two that start at once must not remove each other's socket.
  const UniqueFd lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0) return socket_error("the directory", path);
  GODWIT_TRY(remove_stale(path, address));
  UniqueFd listener = new_socket();
  // On Linux the mode of the unbound socket limits that of the file which bind() makes, so the
  // file is never open to others, not even for a moment.
  if (!listener || ::fchmod(listener.get(), 0600) != 0) return socket_error("making", path);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return socket_error("binding", path);
  }
  struct stat own {};
  if (::listen(listener.get(), kBacklog) != 0 || ::lstat(path.c_str(), &own) != 0) {
    return socket_error("listening", path);
  }
  return std::make_unique<UnixEndpoint>(std::move(listener), path, own.st_dev, own.st_ino);
}

UnixEndpoint::~UnixEndpoint() {
  struct stat found {};
  if (::lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

ConsoleEndpoint::Ready UnixEndpoint::prepare(bool want_input, bool want_output, PollSet set) {
  if (!client_) {
    set[0] = {listener_.get(), POLLIN, 0};
    return {.input = false, .output = want_output};
  }
  const bool output = want_output && !output_ended_;
  const int events = (want_input && !input_ended_ ? POLLIN : 0) | (output ? POLLOUT : 0);
  // With no events asked for, poll() still reports a hang-up. That is wanted once the input has
  // ended; before, unread input may be left, and the report would come for ever.
  if (events != 0 || input_ended_) set[1] = {client_.get(), static_cast<short>(events), 0};
  return {.input = false, .output = want_output && output_ended_};
}

ConsoleEndpoint::Ready UnixEndpoint::after_poll(PollSet set) {
  if (set[0].revents != 0 && !client_) {
    client_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    input_ended_ = output_ended_ = false;
    return {};
  }
  const short found = set[1].revents;
  if ((found & (POLLHUP | POLLERR)) != 0 && input_ended_) {
    drop_client();
    return {};
  }
  return {.input = (found & (POLLIN | POLLHUP)) != 0 && (set[1].events & POLLIN) != 0,
          .output = (found & (POLLOUT | POLLHUP | POLLERR)) != 0 && (set[1].events & POLLOUT) != 0};
}

size_t UnixEndpoint::read(std::span<std::byte> to) {
  const ssize_t n = ::recv(client_.get(), to.data(), to.size(), 0);
  if (n > 0) return static_cast<size_t>(n);
  if (n == 0) input_ended_ = true;
  if (n < 0 && errno != EAGAIN && errno != EINTR) drop_client();
  return 0;
}

ConsoleEndpoint::Written UnixEndpoint::write(std::span<const std::byte> bytes) {
  if (!client_ || output_ended_) return {.sent = 0, .dropped = bytes.size()};
  const ssize_t n = ::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n > 0) return {.sent = static_cast<size_t>(n)};
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  output_ended_ = true;  // what it sent before it left may still be read
  return {.sent = 0, .dropped = bytes.size()};
}

}  // namespace godwit::devices
