#include "devices/virtio/block_request.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace godwit::devices::virtio {
namespace {

constexpr size_t kHeaderBytes = 16;
constexpr size_t kRangeBytes = 16;
constexpr size_t kIdBytes = 20;

constexpr uint32_t kIn = 0;
constexpr uint32_t kOut = 1;
constexpr uint32_t kFlush = 4;
constexpr uint32_t kGetId = 8;
constexpr uint32_t kDiscard = 11;
constexpr uint32_t kWriteZeroes = 13;
constexpr uint32_t kRangeUnmap = 1;

// The bytes [offset, offset + size) of the buffers, as a vector for the host.
void slice(const std::vector<Buffer>& buffers, uint64_t offset, uint64_t size,
           std::vector<iovec>& iov) {
  iov.clear();
  for (const Buffer& buffer : buffers) {
    if (offset >= buffer.bytes.size()) {
      offset -= buffer.bytes.size();
      continue;
    }
    const uint64_t part = std::min<uint64_t>(buffer.bytes.size() - offset, size);
    if (part == 0) return;
    iov.push_back({buffer.bytes.data() + offset, part});
    size -= part;
    offset = 0;
  }
}

// Copies from the start of the vector; how much there was.
size_t copy_out(const std::vector<iovec>& iov, std::span<std::byte> to) {
  size_t done = 0;
  for (const iovec& part : iov) {
    const size_t n = std::min(part.iov_len, to.size() - done);
    std::memcpy(to.data() + done, part.iov_base, n);
    done += n;
  }
  return done;
}

void copy_in(const std::vector<iovec>& iov, std::span<const std::byte> from) {
  size_t done = 0;
  for (const iovec& part : iov) {
    const size_t n = std::min(part.iov_len, from.size() - done);
    std::memcpy(part.iov_base, from.data() + done, n);
    done += n;
  }
}

template <class T>
T field(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

BlockAction answered(uint8_t status) {
  return {.answer = status};
}

// Sectors to bytes; nothing when that is more than can be.
std::optional<uint64_t> bytes_of(uint64_t sectors) {
  constexpr uint64_t kMost = UINT64_MAX / kSectorBytes;
  if (sectors > kMost) return std::nullopt;
  return sectors * kSectorBytes;
}

// One range for each request: max_discard_seg and max_write_zeroes_seg say so.
BlockAction read_range(BlockSlot& slot, BlockOp op, uint64_t data_bytes) {
  if (data_bytes != kRangeBytes) return answered(kBlockUnsupported);
  slice(slot.chain.readable, kHeaderBytes, kRangeBytes, slot.iov);
  std::array<std::byte, kRangeBytes> range{};
  copy_out(slot.iov, range);
  slot.iov.clear();
  const auto flags = field<uint32_t>(range, 12);
  const uint32_t known = op == BlockOp::kWriteZeroes ? kRangeUnmap : 0;
  if ((flags & ~known) != 0) return answered(kBlockUnsupported);
  const auto offset = bytes_of(field<uint64_t>(range, 0));
  if (!offset) return answered(kBlockError);
  return {.request = {.op = op,
                      .unmap = (flags & kRangeUnmap) != 0,
                      .offset = *offset,
                      .length = uint64_t{field<uint32_t>(range, 8)} * kSectorBytes}};
}

BlockAction read_transfer(BlockSlot& slot, BlockOp op, uint64_t sector, uint64_t bytes) {
  const auto offset = bytes_of(sector);
  if (!offset || bytes == 0) return answered(kBlockError);
  if (op == BlockOp::kRead) {
    slice(slot.chain.writable, 0, bytes, slot.iov);
  } else {
    slice(slot.chain.readable, kHeaderBytes, bytes, slot.iov);
  }
  return {.request = {.op = op, .offset = *offset, .length = bytes, .iov = slot.iov}};
}

}  // namespace

bool has_frame(const Chain& chain) {
  return chain.readable_bytes >= kHeaderBytes && chain.writable_bytes >= 1;
}

BlockAction read_block_request(BlockSlot& slot, std::string_view serial) {
  slice(slot.chain.readable, 0, kHeaderBytes, slot.iov);
  std::array<std::byte, kHeaderBytes> header{};
  copy_out(slot.iov, header);
  const std::span<std::byte> last = slot.chain.writable.back().bytes;
  slot.status = last.data() + last.size() - 1;
  const auto sector = field<uint64_t>(header, 8);
  const uint64_t out_bytes = slot.chain.readable_bytes - kHeaderBytes;
  const uint64_t in_bytes = slot.chain.writable_bytes - 1;
  switch (field<uint32_t>(header, 0)) {
    case kIn:
      return read_transfer(slot, BlockOp::kRead, sector, in_bytes);
    case kOut:
      return read_transfer(slot, BlockOp::kWrite, sector, out_bytes);
    case kFlush:
      return {.request = {.op = BlockOp::kFlush}};
    case kDiscard:
      return read_range(slot, BlockOp::kDiscard, out_bytes);
    case kWriteZeroes:
      return read_range(slot, BlockOp::kWriteZeroes, out_bytes);
    case kGetId: {
      std::array<std::byte, kIdBytes> id{};
      std::memcpy(id.data(), serial.data(), std::min(serial.size(), id.size()));
      slice(slot.chain.writable, 0, std::min<uint64_t>(in_bytes, id.size()), slot.iov);
      copy_in(slot.iov, id);
      return answered(kBlockOk);
    }
    default:
      return answered(kBlockUnsupported);
  }
}

}  // namespace godwit::devices::virtio
