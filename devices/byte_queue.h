// A short queue of bytes inside a device's state: a FIFO of the hardware.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace godwit::devices {

template <size_t kCapacity>
class ByteQueue {
 public:
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] size_t room() const { return kCapacity - size_; }
  [[nodiscard]] std::span<const std::byte> view() const { return {bytes_.data(), size_}; }
  void clear() { size_ = 0; }
  // Ignored when full.
  void push(std::byte value) {
    if (size_ < kCapacity) bytes_[size_++] = value;
  }
  void push(std::span<const std::byte> values) {
    for (const std::byte value : values) push(value);
  }
  // Drops the `n` oldest.
  void pop(size_t n) {
    if (n > size_) n = size_;
    for (size_t i = n; i < size_; ++i) bytes_[i - n] = bytes_[i];
    size_ -= n;
  }
  // The oldest one, which must exist.
  std::byte take() {
    const std::byte value = bytes_[0];
    pop(1);
    return value;
  }

 private:
  std::array<std::byte, kCapacity> bytes_{};
  size_t size_ = 0;
};

}  // namespace godwit::devices
