#include "devices/debug_exit.h"

#include <algorithm>

namespace godwit::devices {

void DebugExit::read(uint64_t /*offset*/, std::span<std::byte> data) {
  std::fill(data.begin(), data.end(), std::byte{0});
}

void DebugExit::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset != 0 || data.size() > sizeof(uint32_t)) return;
  uint32_t code = 0;
  for (size_t i = 0; i < data.size(); ++i) {
    code |= std::to_integer<uint32_t>(data[i]) << (8 * i);
  }
  events_.debug_exit(code);
}

Result<> DebugExit::load(ByteReader& in, uint16_t /*version*/) {
  return in.finish();
}

}  // namespace godwit::devices
