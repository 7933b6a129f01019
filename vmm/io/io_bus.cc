#include "vmm/io/io_bus.h"

#include <algorithm>
#include <limits>

#include "vmm/base/check.h"

namespace godwit::vmm {

void IoBus::attach(uint64_t base, uint64_t size, IoHandler& handler) {
  GODWIT_CHECK(size != 0 && base <= std::numeric_limits<uint64_t>::max() - size, "empty range");
  const auto next = ranges_.lower_bound(base);
  GODWIT_CHECK(next == ranges_.end() || base + size <= next->second.base, "ranges overlap");
  if (next != ranges_.begin()) {
    const Range& before = std::prev(next)->second;
    GODWIT_CHECK(before.base + before.size <= base, "ranges overlap");
  }
  ranges_.emplace(base, Range{base, size, &handler});
}

const IoBus::Range* IoBus::find(uint64_t address, uint64_t size) const {
  auto it = ranges_.upper_bound(address);
  if (it == ranges_.begin()) return nullptr;
  const Range& range = std::prev(it)->second;
  const uint64_t offset = address - range.base;
  if (offset >= range.size || size > range.size - offset) return nullptr;
  return &range;
}

bool IoBus::read(uint64_t address, std::span<std::byte> data) const {
  const Range* range = find(address, data.size());
  if (range == nullptr) {
    std::fill(data.begin(), data.end(), std::byte{0xff});
    return false;
  }
  range->handler->read(address - range->base, data);
  return true;
}

bool IoBus::write(uint64_t address, std::span<const std::byte> data) const {
  const Range* range = find(address, data.size());
  if (range == nullptr) return false;
  range->handler->write(address - range->base, data);
  return true;
}

}  // namespace godwit::vmm
