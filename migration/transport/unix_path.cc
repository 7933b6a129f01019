#include "migration/transport/unix_path.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "vmm/base/fd.h"
#include "vmm/base/syscall.h"

namespace godwit::migration {
namespace {

// 0 when somebody listens at `path`, else the errno of connect(2).
int try_connect(const std::string& path) {
  const UniqueFd fd(check_syscall(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                                  "socket(AF_UNIX)"));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy_n(path.data(), std::min(path.size(), sizeof(address.sun_path) - 1), address.sun_path);
  const int result = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  return result == 0 ? 0 : errno;
}

}  // namespace

Result<> clear_stale_socket(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return error_from_errno(errno, fmt::format("cannot look at {}", path));
  }
  if (!S_ISSOCK(status.st_mode)) {
    return make_error(Errc::kAlreadyExists,
                      "cannot listen on unix://{}: a file that is no socket is in the way", path);
  }
  if (try_connect(path) != ECONNREFUSED) {
    return make_error(Errc::kAlreadyExists,
                      "cannot listen on unix://{}: another process listens there", path);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return error_from_errno(errno, fmt::format("cannot remove the stale socket {}", path));
  }
  return {};
}

SocketFile::SocketFile(std::string path) : path_(std::move(path)) {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) != 0) throw_errno("lstat(" + path_ + ")");
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

SocketFile::SocketFile(SocketFile&& other) noexcept
    : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}

SocketFile& SocketFile::operator=(SocketFile&& other) noexcept {
  if (this == &other) return *this;
  remove();
  path_ = std::exchange(other.path_, {});
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

SocketFile::~SocketFile() {
  remove();
}

void SocketFile::remove() noexcept {
  struct stat status {};
  if (path_.empty() || ::lstat(path_.c_str(), &status) != 0) return;
  if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace godwit::migration
