// A first-in first-out buffer of bytes with a fixed capacity, allocated once.
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace godwit::devices {

// Threads: none of its own. One exception that the console needs: the bytes of front() stay where
// they are during a push(), so they may be read without the lock that guards push() and pop().
class ByteRing {
 public:
  explicit ByteRing(size_t capacity) : buffer_(capacity) {}

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] size_t capacity() const { return buffer_.size(); }
  [[nodiscard]] size_t room() const { return buffer_.size() - size_; }

  // Appends what there is room for; returns how many.
  size_t push(std::span<const std::byte> bytes) {
    const size_t n = std::min(bytes.size(), room());
    const size_t tail = (head_ + size_) % buffer_.size();
    const size_t first = std::min(n, buffer_.size() - tail);
    std::copy_n(bytes.begin(), first, buffer_.begin() + static_cast<ptrdiff_t>(tail));
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(first), n - first, buffer_.begin());
    size_ += n;
    return n;
  }
  // The oldest bytes, as far as they lie behind one another.
  [[nodiscard]] std::span<const std::byte> front() const {
    return std::span(buffer_).subspan(head_, std::min(size_, buffer_.size() - head_));
  }
  // What front() leaves out.
  [[nodiscard]] std::span<const std::byte> back() const {
    return std::span(buffer_).first(size_ - front().size());
  }
  void pop(size_t n) {
    n = std::min(n, size_);
    head_ = (head_ + n) % buffer_.size();
    size_ -= n;
  }
  void clear() { head_ = size_ = 0; }

 private:
  std::vector<std::byte> buffer_;
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace godwit::devices
