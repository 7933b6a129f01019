#include "devices/block/block.h"

#include <cerrno>

namespace godwit::devices {
namespace {

bool sums_up(std::span<const iovec> iov, uint64_t length) {
  uint64_t sum = 0;
  for (const iovec& part : iov) {
    if (part.iov_len > length - sum) return false;
    sum += part.iov_len;
  }
  return sum == length;
}

}  // namespace

int check_block_request(const BlockInfo& info, const BlockRequest& request) {
  if (request.op == BlockOp::kFlush) return 0;
  const bool transfer = request.op == BlockOp::kRead || request.op == BlockOp::kWrite;
  if (request.op != BlockOp::kRead && info.read_only) return EROFS;
  if (request.op == BlockOp::kDiscard && !info.can_discard) return EOPNOTSUPP;
  if (request.op == BlockOp::kWriteZeroes && !info.can_write_zeroes) return EOPNOTSUPP;
  if (request.length == 0 || request.length % info.logical_block_bytes != 0 ||
      request.offset % info.logical_block_bytes != 0) {
    return EINVAL;
  }
  if (request.offset > info.size_bytes || request.length > info.size_bytes - request.offset) {
    return ERANGE;
  }
  if (transfer && !sums_up(request.iov, request.length)) return EINVAL;
  if (request.op == BlockOp::kDiscard && request.length > info.max_discard_bytes) return EINVAL;
  if (request.op == BlockOp::kWriteZeroes && request.length > info.max_write_zeroes_bytes) {
    return EINVAL;
  }
  return 0;
}

int BlockQueue::submit(const BlockRequest& request) {
  if (const int refused = check_block_request(info_, request); refused != 0) return refused;
  if (in_flight_ == capacity_) return EAGAIN;
  take(request);
  ++in_flight_;
  ++counters_.submitted;
  return 0;
}

size_t BlockQueue::reap(std::span<BlockCompletion> done) {
  const size_t n = collect(done);
  in_flight_ -= n;
  counters_.completed += n;
  for (const BlockCompletion& completion : done.first(n)) {
    if (completion.error != 0) ++counters_.failed;
  }
  return n;
}

}  // namespace godwit::devices
