#include "devices/block/file_transfer.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <new>

namespace godwit::devices {
namespace {

// Answers that mean "again"; a host that says nothing else must not keep us forever.
constexpr int kMaxRetries = 100;
constexpr size_t kZeroBytes = 64u << 10;
constexpr size_t kZeroParts = 16;

alignas(FileTransfer::kBounceAlignment) constinit std::array<std::byte, kZeroBytes> zeroes{};

bool lacks_operation(int error) {
  return error == EOPNOTSUPP || error == ENOSYS;
}
bool means_again(int64_t result) {
  // ECANCELED: the thread that the host had tied the request to is gone.
  return result == -EINTR || result == -EAGAIN || result == -ECANCELED;
}

}  // namespace

void FileTransfer::Free::operator()(std::byte* memory) const {
  std::free(memory);
}

int64_t perform(const BlockFile& file, const FileCall& call) {
  const auto offset = static_cast<off_t>(call.offset);
  const auto parts = static_cast<int>(call.iov.size());
  int64_t result = 0;
  switch (call.kind) {
    case FileCall::Kind::kReadv:
      result = ::preadv(file.fd, call.iov.data(), parts, offset);
      break;
    case FileCall::Kind::kWritev:
      result = ::pwritev(file.fd, call.iov.data(), parts, offset);
      break;
    case FileCall::Kind::kSync:
      result = ::fdatasync(file.fd);
      break;
    case FileCall::Kind::kFallocate:
      result = ::fallocate(file.fd, call.mode, offset, static_cast<off_t>(call.length));
      break;
  }
  return result < 0 ? -errno : result;
}

void FileTransfer::start(BlockFile& file, const BlockRequest& request) {
  file_ = &file;
  op_ = request.op;
  offset_ = request.offset;
  left_ = request.length;
  tag_ = request.tag;
  retries_ = 0;
  bounced_ = false;
  if (op_ == BlockOp::kRead || op_ == BlockOp::kWrite) {
    memory_.assign(request.iov);
    at_ = {};
    bounced_ = file.direct && !memory_.aligned(file.memory_alignment, file.length_alignment);
    if (bounced_ && !bounce_) {
      bounce_.reset(static_cast<std::byte*>(std::aligned_alloc(kBounceAlignment, kBounceBytes)));
      if (!bounce_) throw std::bad_alloc();
    }
  }
  zeroing_ = request.unmap && file.punches_holes ? Zeroing::kPunch
             : file.zeroes_ranges                ? Zeroing::kZeroRange
                                                 : Zeroing::kWrite;
}

FileCall FileTransfer::next() {
  switch (op_) {
    case BlockOp::kRead:
    case BlockOp::kWrite:
      return next_transfer();
    case BlockOp::kFlush:
      return FileCall{FileCall::Kind::kSync};
    case BlockOp::kDiscard:
      return FileCall{FileCall::Kind::kFallocate, offset_, left_,
                      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
    case BlockOp::kWriteZeroes:
      break;
  }
  return next_zeroes();
}

FileCall FileTransfer::next_transfer() {
  FileCall call;
  call.kind = op_ == BlockOp::kRead ? FileCall::Kind::kReadv : FileCall::Kind::kWritev;
  call.offset = offset_;
  if (!bounced_) {
    const auto parts = memory_.from(at_);
    call.iov = parts.first(std::min<size_t>(parts.size(), IOV_MAX));
    asked_ = left_;
    return call;
  }
  asked_ = std::min<uint64_t>(left_, kBounceBytes);
  if (op_ == BlockOp::kWrite) memory_.gather(at_, {bounce_.get(), asked_});
  call_iov_.assign(1, iovec{bounce_.get(), asked_});
  call.iov = call_iov_;
  return call;
}

FileCall FileTransfer::next_zeroes() {
  if (zeroing_ != Zeroing::kWrite) {
    const int how = zeroing_ == Zeroing::kPunch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    return FileCall{FileCall::Kind::kFallocate, offset_, left_, how | FALLOC_FL_KEEP_SIZE};
  }
  call_iov_.clear();
  asked_ = 0;
  while (asked_ < left_ && call_iov_.size() < kZeroParts) {
    const auto bytes = static_cast<size_t>(std::min<uint64_t>(left_ - asked_, kZeroBytes));
    call_iov_.push_back(iovec{zeroes.data(), bytes});
    asked_ += bytes;
  }
  return FileCall{FileCall::Kind::kWritev, offset_, 0, 0, call_iov_};
}

std::optional<int> FileTransfer::answer(int64_t result) {
  if (means_again(result) && ++retries_ <= kMaxRetries) return std::nullopt;
  const int error = result < 0 ? static_cast<int>(-result) : 0;
  switch (op_) {
    case BlockOp::kFlush:
      return error;
    case BlockOp::kDiscard:
      return answer_fallocate(error);
    case BlockOp::kWriteZeroes:
      if (zeroing_ != Zeroing::kWrite) return answer_fallocate(error);
      break;
    case BlockOp::kRead:
    case BlockOp::kWrite:
      break;
  }
  if (error != 0) return error;
  return answer_transfer(static_cast<uint64_t>(result));
}

std::optional<int> FileTransfer::answer_transfer(uint64_t bytes) {
  bytes = std::min(bytes, asked_);
  // What O_DIRECT left in the middle of a block is done again: it would refuse to go on there.
  if (bytes < asked_) bytes -= bytes % file_->length_alignment;
  // The file was cut short behind our back, or the host takes no more.
  if (bytes == 0) return EIO;
  if (op_ == BlockOp::kRead && bounced_) memory_.scatter(at_, {bounce_.get(), bytes});
  if (op_ != BlockOp::kWriteZeroes) memory_.advance(at_, bytes);
  offset_ += bytes;
  left_ -= bytes;
  retries_ = 0;
  return left_ == 0 ? std::optional(0) : std::nullopt;
}

std::optional<int> FileTransfer::answer_fallocate(int error) {
  if (!lacks_operation(error)) return error;
  if (op_ == BlockOp::kDiscard) return 0;  // a hint; the guest may not rely on its content
  if (zeroing_ == Zeroing::kPunch) {
    file_->punches_holes = false;
    zeroing_ = file_->zeroes_ranges ? Zeroing::kZeroRange : Zeroing::kWrite;
  } else {
    file_->zeroes_ranges = false;
    zeroing_ = Zeroing::kWrite;
  }
  return std::nullopt;
}

}  // namespace godwit::devices
