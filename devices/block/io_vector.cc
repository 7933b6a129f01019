#include "devices/block/io_vector.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vmm/base/check.h"

namespace godwit::devices {

void IoVector::assign(std::span<const iovec> parts) {
  parts_.clear();
  for (const iovec& part : parts) {
    if (part.iov_len == 0) continue;
    if (!parts_.empty()) {
      iovec& last = parts_.back();
      if (static_cast<std::byte*>(last.iov_base) + last.iov_len == part.iov_base) {
        last.iov_len += part.iov_len;
        continue;
      }
    }
    parts_.push_back(part);
  }
}

void IoVector::advance(Position& at, size_t bytes) const {
  while (at.index < parts_.size()) {
    const size_t here = std::min(bytes, parts_[at.index].iov_len - at.offset);
    at.offset += here;
    bytes -= here;
    if (at.offset < parts_[at.index].iov_len) return;
    ++at.index;
    at.offset = 0;
  }
}

std::span<const iovec> IoVector::from(Position at) {
  const auto rest = std::span(parts_).subspan(at.index);
  if (at.offset == 0) return rest;
  rest_.assign(rest.begin(), rest.end());
  rest_.front().iov_base = static_cast<std::byte*>(rest_.front().iov_base) + at.offset;
  rest_.front().iov_len -= at.offset;
  return rest_;
}

std::span<std::byte> IoVector::piece(Position at) const {
  if (at.index == parts_.size()) return {};
  const iovec& part = parts_[at.index];
  return std::span(static_cast<std::byte*>(part.iov_base), part.iov_len).subspan(at.offset);
}

template <class Copy>
void IoVector::walk(Position at, size_t bytes, const Copy& copy) const {
  for (size_t done = 0; done < bytes;) {
    const std::span<std::byte> memory = piece(at);
    const size_t n = std::min(memory.size(), bytes - done);
    GODWIT_CHECK(n > 0, "a request holds less memory than its length");
    copy(memory.first(n), done);
    done += n;
    advance(at, n);
  }
}

void IoVector::gather(Position at, std::span<std::byte> to) const {
  walk(at, to.size(), [&](std::span<std::byte> memory, size_t done) {
    std::memcpy(to.data() + done, memory.data(), memory.size());
  });
}

void IoVector::scatter(Position at, std::span<const std::byte> bytes) const {
  walk(at, bytes.size(), [&](std::span<std::byte> memory, size_t done) {
    std::memcpy(memory.data(), bytes.data() + done, memory.size());
  });
}

bool IoVector::aligned(size_t address, size_t length) const {
  return std::all_of(parts_.begin(), parts_.end(), [&](const iovec& part) {
    return reinterpret_cast<uintptr_t>(part.iov_base) % address == 0 && part.iov_len % length == 0;
  });
}

}  // namespace godwit::devices
