#include "devices/virtio/buffers.h"

#include <algorithm>
#include <cstring>

namespace godwit::devices::virtio {
namespace {

// Calls copy(piece of a buffer, bytes done before it).
template <class Copy>
size_t walk(std::span<const Buffer> buffers, uint64_t offset, size_t size, Copy&& copy) {
  size_t done = 0;
  for (const Buffer& buffer : buffers) {
    if (done == size) break;
    if (offset >= buffer.bytes.size()) {
      offset -= buffer.bytes.size();
      continue;
    }
    const size_t part = std::min<size_t>(size - done, buffer.bytes.size() - offset);
    copy(buffer.bytes.subspan(offset, part), done);
    done += part;
    offset = 0;
  }
  return done;
}

}  // namespace

size_t copy_out(std::span<const Buffer> buffers, uint64_t offset, std::span<std::byte> to) {
  return walk(buffers, offset, to.size(), [to](std::span<std::byte> piece, size_t done) {
    std::memcpy(to.data() + done, piece.data(), piece.size());
  });
}

size_t copy_in(std::span<const Buffer> buffers, uint64_t offset, std::span<const std::byte> from) {
  return walk(buffers, offset, from.size(), [from](std::span<std::byte> piece, size_t done) {
    std::memcpy(piece.data(), from.data() + done, piece.size());
  });
}

}  // namespace godwit::devices::virtio
