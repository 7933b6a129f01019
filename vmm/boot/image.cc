#include "vmm/boot/image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace godwit::vmm {

Result<Image> Image::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return error_from_errno(errno, fmt::format("cannot open {}", path));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    return error_from_errno(errno, fmt::format("cannot examine {}", path));
  }
  if (!S_ISREG(status.st_mode)) {
    return make_error(Errc::kInvalidArgument, "{} is {}, not a file: give the path of an image",
                      path, S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket");
  }
  return Image(std::move(fd), {}, static_cast<uint64_t>(status.st_size), path);
}

Image Image::of(std::span<const std::byte> bytes, std::string name) {
  return {UniqueFd(), bytes, bytes.size(), std::move(name)};
}

Result<> Image::read(uint64_t offset, std::span<std::byte> to) const {
  if (offset > size_ || to.size() > size_ - offset) {
    return make_error(Errc::kCorrupt,
                      "{} is truncated: bytes {:#x}+{:#x} are asked for and it ends at {:#x}",
                      name_, offset, to.size(), size_);
  }
  if (!fd_) {
    if (!to.empty()) std::memcpy(to.data(), bytes_.data() + offset, to.size());
    return {};
  }
  while (!to.empty()) {
    const ssize_t n = ::pread(fd_.get(), to.data(), to.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, fmt::format("cannot read {}", name_));
    if (n == 0) {
      return make_error(Errc::kIo, "{} became shorter while it was read: its end is now {:#x}",
                        name_, offset);
    }
    to = to.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<std::vector<std::byte>> Image::read(uint64_t offset, uint64_t size) const {
  std::vector<std::byte> bytes(size);
  GODWIT_TRY(read(offset, std::span(bytes)));
  return bytes;
}

Result<std::vector<std::byte>> Image::head(uint64_t size) const {
  return read(0, std::min(size, size_));
}

Result<> Image::copy_to(GuestMemory& memory, Gpa gpa, uint64_t offset, uint64_t size) const {
  if (size == 0) return {};
  GODWIT_ASSIGN(const auto to, memory.at(gpa, ByteCount{size}));
  GODWIT_TRY(read(offset, to));
  memory.mark_dirty(gpa, ByteCount{size});
  return {};
}

}  // namespace godwit::vmm
