#include "vmm/base/mapping.h"

#include <sys/mman.h>

#include <utility>

#include "vmm/base/syscall.h"

namespace godwit {

Mapping Mapping::map(size_t size, int protection, int flags, int fd, off_t offset) {
  void* address = ::mmap(nullptr, size, protection, flags, fd, offset);
  if (address == MAP_FAILED) throw_errno("mmap");
  return Mapping(static_cast<std::byte*>(address), size);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    Mapping old(std::move(*this));
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace godwit
