// The bytes of one fuzzer input, taken from the front; zeroes when there are no more.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace godwit::devices {

class FuzzInput {
 public:
  explicit FuzzInput(std::span<const std::byte> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  uint8_t u8() {
    if (bytes_.empty()) return 0;
    const auto value = std::to_integer<uint8_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return value;
  }
  uint16_t u16() {
    const unsigned low = u8();
    return static_cast<uint16_t>(low | static_cast<unsigned>(u8()) << 8);
  }
  std::span<const std::byte> take(size_t n) {
    const auto taken = bytes_.first(std::min(n, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace godwit::devices
