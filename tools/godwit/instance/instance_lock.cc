#include "tools/godwit/instance/instance_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "vmm/base/syscall.h"

namespace godwit::tools {
namespace {

namespace fs = std::filesystem;

// Whether `path` still names the open file: its last holder may have removed it between our open
// and our lock, and then the lock guards nothing.
bool still_there(const UniqueFd& fd, const fs::path& path) {
  struct stat opened {
  }, named{};
  return ::fstat(fd.get(), &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

pid_t read_pid(const UniqueFd& fd) {
  std::array<char, 24> text{};
  const ssize_t size = ::pread(fd.get(), text.data(), text.size(), 0);
  pid_t pid = 0;
  if (size > 0) std::from_chars(text.data(), text.data() + size, pid);
  return pid;
}

void write_pid(const UniqueFd& fd) {
  const std::string text = fmt::format("{}\n", ::getpid());
  check_syscall(::ftruncate(fd.get(), 0), "ftruncate of the lock file");
  check_syscall(::pwrite(fd.get(), text.data(), text.size(), 0), "write of the lock file");
}

Error in_use(std::string_view name, pid_t pid) {
  return make_error(Errc::kAlreadyExists,
                    "the name '{}' is in use by a running VMM (process {}): choose another --name, "
                    "another run directory (GODWIT_RUN_DIR), or end it with: godwit stop {}",
                    name, pid, name);
}

}  // namespace

Result<InstanceLock> InstanceLock::take(const RunDir& dir, std::string_view name) {
  GODWIT_TRY(check_name(name));
  const fs::path lock = dir.lock_path(name);
  constexpr int kAttempts = 100;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    UniqueFd fd(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return error_from_errno(errno, fmt::format("cannot open {}", lock.string()));
    struct flock request = whole_file();
    if (::fcntl(fd.get(), F_OFD_SETLK, &request) != 0) {
      if (errno == EAGAIN || errno == EACCES) return in_use(name, read_pid(fd));
      return error_from_errno(errno, fmt::format("cannot lock {}", lock.string()));
    }
    if (!still_there(fd, lock)) continue;
    write_pid(fd);
    const fs::path socket = dir.socket_path(name);
    if (::unlink(socket.c_str()) != 0 && errno != ENOENT)
      return error_from_errno(errno, fmt::format("cannot remove the old {}", socket.string()));
    return InstanceLock(std::string(name), socket, lock, std::move(fd));
  }
  return make_error(Errc::kAlreadyExists, "{} changes hands too fast; try again", lock.string());
}

InstanceLock::InstanceLock(std::string name, fs::path socket, fs::path lock, UniqueFd fd)
    : name_(std::move(name)),
      socket_(std::move(socket)),
      lock_(std::move(lock)),
      fd_(std::move(fd)) {}

InstanceLock::~InstanceLock() {
  if (!fd_) return;
  // While the lock is still held, so that no successor's files are removed.
  ::unlink(socket_.c_str());
  ::unlink(lock_.c_str());
}

std::optional<pid_t> instance_owner(const RunDir& dir, std::string_view name) {
  const UniqueFd fd(::open(dir.lock_path(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  struct flock request = whole_file();
  if (::fcntl(fd.get(), F_OFD_GETLK, &request) != 0 || request.l_type == F_UNLCK)
    return std::nullopt;
  return read_pid(fd);
}

}  // namespace godwit::tools
