#include "devices/unix_socket/unix_listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace godwit::devices {
namespace {

// Makes room at the path: removes a socket that nobody serves.
Result<> remove_stale(std::string_view what, const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return {};
  if (!S_ISSOCK(found.st_mode)) {
    return make_error(Errc::kAlreadyExists,
                      "{}: '{}' exists and is no socket; remove it or name another path", what,
                      path);
  }
  const UniqueFd probe = new_unix_socket();
  const int result =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (result == 0 || errno != ECONNREFUSED) {
    return make_error(Errc::kAlreadyExists,
                      "{}: the socket '{}' is in use by a running process; stop that one or name "
                      "another path",
                      what, path);
  }
  ::unlink(path.c_str());
  return {};
}

Error socket_error(std::string_view what, const char* call, const std::string& path) {
  return error_from_errno(errno, fmt::format("{}: {} of the socket '{}' failed; name a path in a "
                                             "directory that this user may write to",
                                             what, call, path));
}

}  // namespace

UniqueFd new_unix_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

Result<sockaddr_un> unix_address(std::string_view what, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return make_error(Errc::kInvalidArgument,
                      "{}: the socket path '{}' has {} bytes, at most {} can be; name a shorter "
                      "one",
                      what, path, path.size(), sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<UnixListener> UnixListener::open(std::string_view what, const std::string& path,
                                        int backlog) {
  GODWIT_ASSIGN(const sockaddr_un address, unix_address(what, path));
  const auto parent = std::filesystem::path(path).parent_path();
  const std::string directory = parent.empty() ? "." : parent.string();
  // Two that start at once must not remove each other's socket.
  const UniqueFd lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0) return socket_error(what, "the directory", path);
  GODWIT_TRY(remove_stale(what, path, address));
  UnixListener listener(new_unix_socket(), path);
  // On Linux the mode of the unbound socket limits that of the file which bind() makes, so the
  // file is never open to others, not even for a moment.
  if (!listener.fd_ || ::fchmod(listener.fd(), 0600) != 0)
    return socket_error(what, "making", path);
  if (::bind(listener.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return socket_error(what, "binding", path);
  struct stat own {};
  if (::listen(listener.fd(), backlog) != 0 || ::lstat(path.c_str(), &own) != 0)
    return socket_error(what, "listening", path);
  listener.device_ = own.st_dev;
  listener.inode_ = own.st_ino;
  return listener;
}

UnixListener::~UnixListener() {
  struct stat found {};
  if (inode_ == 0 || !fd_) return;
  if (::lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_)
    ::unlink(path_.c_str());
}

}  // namespace godwit::devices
