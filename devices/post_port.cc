#include "devices/post_port.h"

#include <algorithm>

namespace godwit::devices {

void PostPort::read(uint64_t /*offset*/, std::span<std::byte> data) {
  std::fill(data.begin(), data.end(), std::byte{code_.load(std::memory_order_relaxed)});
}

void PostPort::write(uint64_t /*offset*/, std::span<const std::byte> data) {
  for (const std::byte value : data) {
    code_.store(std::to_integer<uint8_t>(value), std::memory_order_relaxed);
  }
}

void PostPort::save(ByteWriter& out) const {
  out.u8(code_.load(std::memory_order_relaxed));
}

Result<> PostPort::load(ByteReader& in, uint16_t /*version*/) {
  const uint8_t code = in.u8();
  GODWIT_TRY(in.finish());
  code_.store(code, std::memory_order_relaxed);
  return {};
}

}  // namespace godwit::devices
