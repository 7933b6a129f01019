// Ownership of a memory mapping.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <span>

namespace godwit {

class Mapping {
 public:
  Mapping() = default;
  // mmap(2) of `size` bytes; throws std::system_error. `fd` is -1 for MAP_ANONYMOUS.
  static Mapping map(size_t size, int protection, int flags, int fd, off_t offset = 0);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, size_}; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Mapping(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace godwit
