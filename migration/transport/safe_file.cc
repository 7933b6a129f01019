#include "migration/transport/safe_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "vmm/base/fd.h"

namespace godwit::migration {
namespace {

Error file_error(const std::filesystem::path& path, std::string_view doing) {
  return error_from_errno(errno, fmt::format("cannot {} {}", doing, path.string()));
}

Result<> write_all(int fd, std::string_view content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t count = ::write(fd, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error(path, "write");
    content.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

Result<> write_and_sync(int fd, std::string_view content, mode_t mode,
                        const std::filesystem::path& path) {
  if (::fchmod(fd, mode) != 0) return file_error(path, "set the mode of");
  GODWIT_TRY(write_all(fd, content, path));
  if (::fsync(fd) != 0) return file_error(path, "sync");
  return {};
}

Result<> put_in_place(const std::string& aside, const std::filesystem::path& path, bool replace) {
  if (replace) {
    if (::rename(aside.c_str(), path.c_str()) != 0) return file_error(path, "rename to");
    return {};
  }
  // link(2) refuses to replace, atomically and on every file system with hard links.
  if (::link(aside.c_str(), path.c_str()) != 0) {
    if (errno != EEXIST) return file_error(path, "create");
    return make_error(Errc::kAlreadyExists, "{} exists and is not overwritten", path.string());
  }
  ::unlink(aside.c_str());
  return {};
}

}  // namespace

Result<SmallFile> read_small_file(const std::filesystem::path& path) {
  // O_NONBLOCK: a FIFO in the file's place must not hang us.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return file_error(path, "open");
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return file_error(path, "stat");
  if (!S_ISREG(status.st_mode)) {
    return make_error(Errc::kInvalidArgument, "{} is not a regular file", path.string());
  }
  SmallFile file{.content = std::string(kMaxSmallFileBytes + 1, '\0'), .mode = status.st_mode};
  size_t size = 0;
  while (size < file.content.size()) {
    const ssize_t count = ::read(fd.get(), file.content.data() + size, file.content.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error(path, "read");
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  if (size > kMaxSmallFileBytes) {
    return make_error(Errc::kInvalidArgument, "{} is longer than {} bytes", path.string(),
                      kMaxSmallFileBytes);
  }
  file.content.resize(size);
  return file;
}

Result<> write_file_atomically(const std::filesystem::path& path, std::string_view content,
                               mode_t mode, bool replace) {
  std::string aside =
      (path.parent_path() / fmt::format(".{}.XXXXXX", path.filename().string())).string();
  const UniqueFd fd(::mkostemp(aside.data(), O_CLOEXEC));
  if (!fd) return file_error(path, "create a file beside");
  auto done = write_and_sync(fd.get(), content, mode, path);
  if (done) done = put_in_place(aside, path, replace);
  if (!done) {
    ::unlink(aside.c_str());
    return done;
  }
  const UniqueFd parent(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent && ::fsync(parent.get()) != 0) return file_error(path.parent_path(), "sync");
  return {};
}

}  // namespace godwit::migration
