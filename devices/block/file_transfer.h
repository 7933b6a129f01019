// One request on a file or block device, cut into the calls that the host takes: bounce buffers
// for memory that O_DIRECT refuses, short transfers continued, and other ways where the file system
// lacks one. Who makes the calls (io_uring, a thread) is the queue's affair.
#pragma once
#include <atomic>
#include <memory>
#include <optional>

#include "devices/block/block.h"
#include "devices/block/io_vector.h"

namespace godwit::devices {

// The file as an open queue sees it. Shared by all queues of a disk.
struct BlockFile {
  int fd = -1;
  bool direct = false;            // O_DIRECT; then
  uint32_t memory_alignment = 1;  // of every part of a transfer, at most kBounceAlignment
  uint32_t length_alignment = 1;  // of every part, and of offsets; at most logical_block_bytes
  // What fallocate() was not found to refuse yet.
  std::atomic<bool> punches_holes{true};
  std::atomic<bool> zeroes_ranges{true};
};

// The next call for the host. Its answer is the call's: bytes, 0, or -errno.
struct FileCall {
  enum class Kind { kReadv, kWritev, kSync, kFallocate } kind = Kind::kSync;
  uint64_t offset = 0;
  uint64_t length = 0;         // kFallocate
  int mode = 0;                // kFallocate
  std::span<const iovec> iov;  // valid until the answer; at most IOV_MAX parts
};

// Makes the call; waits. An answer as io_uring gives it.
int64_t perform(const BlockFile& file, const FileCall& call);

// Threads: one at a time; it may move with the request.
class FileTransfer {
 public:
  static constexpr size_t kBounceBytes = 64u << 10;
  static constexpr size_t kBounceAlignment = 4096;

  // `file` must live as long as the transfer.
  void start(BlockFile& file, const BlockRequest& request);
  // Valid until answer().
  FileCall next();
  // Takes the host's answer to the last next(). The request is over with a value: 0 or an errno.
  // Otherwise it needs another next().
  std::optional<int> answer(int64_t result);
  [[nodiscard]] uint64_t tag() const { return tag_; }

 private:
  enum class Zeroing { kPunch, kZeroRange, kWrite };
  struct Free {
    void operator()(std::byte* memory) const;
  };
  FileCall next_transfer();
  FileCall next_zeroes();
  std::optional<int> answer_transfer(uint64_t bytes);
  std::optional<int> answer_fallocate(int error);

  BlockFile* file_ = nullptr;
  BlockOp op_ = BlockOp::kRead;
  Zeroing zeroing_ = Zeroing::kPunch;
  bool bounced_ = false;
  uint64_t offset_ = 0;  // of what is left
  uint64_t left_ = 0;
  uint64_t asked_ = 0;  // by the last call
  uint64_t tag_ = 0;
  int retries_ = 0;
  IoVector memory_;
  IoVector::Position at_;
  std::unique_ptr<std::byte, Free> bounce_;
  std::vector<iovec> call_iov_;
};

}  // namespace godwit::devices
