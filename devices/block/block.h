// The host's side of a disk: what a block device of a guest stands on.
//
// A BlockBackend is a disk; each of its BlockQueues carries requests for one thread. A request is
// submitted, sent to the host by kick() together with others, and comes back by reap() in any
// order. No call of a queue blocks. Requests that overlap are not ordered: as with any disk, who
// wants an order waits for the first.
//
// Durability. A completed write may sit in a cache of the host (direct=off) or of the server, or in
// the disk's own; a flush that was submitted after the write completed, and succeeded, puts it down
// for good. That is the guest's contract too: virtio-blk with VIRTIO_BLK_F_FLUSH.
//
// Nothing outside of the disk is touched: a queue refuses what lies beyond the end before the host
// sees it, and a regular file never grows.
//
// Errors of requests are errno values; the device's answer to its guest follows from them.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "vmm/base/error.h"

namespace godwit::devices {

inline constexpr uint32_t kSectorBytes = 512;
// The longest discard or write-zeroes in one request.
inline constexpr uint64_t kMaxBlockRangeBytes = 1u << 30;

struct BlockInfo {
  uint64_t size_bytes = 0;                      // a multiple of logical_block_bytes
  uint32_t logical_block_bytes = kSectorBytes;  // what offsets and lengths are multiples of
  uint32_t physical_block_bytes = kSectorBytes;
  uint32_t min_io_bytes = 0;  // best not below it; 0: unknown
  uint32_t opt_io_bytes = 0;  // best in multiples of it; 0: unknown
  bool read_only = false;
  bool can_discard = false;       // also: write-zeroes with unmap may free the space
  bool can_write_zeroes = false;  // of a writable disk always, at worst by writing
  uint64_t max_discard_bytes = kMaxBlockRangeBytes;
  uint64_t max_write_zeroes_bytes = kMaxBlockRangeBytes;
  uint32_t discard_granularity_bytes = 0;  // 0: unknown
  uint16_t max_queues = 1;                 // how many queues may live at once
};

enum class BlockOp : uint8_t { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };

struct BlockRequest {
  BlockOp op = BlockOp::kRead;
  bool unmap = false;  // of kWriteZeroes: the space may be given back
  uint64_t offset = 0;
  uint64_t length = 0;
  // kRead, kWrite: memory of `length` bytes together, in any shape and alignment. The array is
  // copied by submit(); the memory must stay until the request is reaped or the queue is gone.
  std::span<const iovec> iov;
  uint64_t tag = 0;  // the caller's own, handed back
};

struct BlockCompletion {
  uint64_t tag = 0;
  int error = 0;  // 0, or an errno; memory of a failed read holds anything
};

struct BlockCounters {
  uint64_t submitted = 0;   // requests taken
  uint64_t completed = 0;   // of these, reaped; failed ones too
  uint64_t failed = 0;      // of these, with an error
  uint64_t host_calls = 0;  // calls of the host that carried requests, or messages to a server
};

// Threads: one at a time for all calls. The thread that kicked a request must live until the
// request is reaped (io_uring ties requests to it).
class BlockQueue {
 public:
  // Waits until the host is done with the memory of requests in flight; what was not sent yet is
  // dropped. To lose nothing, reap until in_flight() is 0 first.
  virtual ~BlockQueue() = default;

  // 0: taken, and a completion will come. EAGAIN: the queue is full; the caller keeps the request
  // and tries again when a reap() has returned something. Otherwise it is refused, and no
  // completion comes: EINVAL (not in multiples of the logical block, empty, too long, lengths that
  // disagree), ERANGE (beyond the end), EROFS, EOPNOTSUPP.
  int submit(const BlockRequest& request);
  // Sends what was submitted. Before, nobody need have seen it.
  virtual void kick() = 0;
  // Readable when reap() has something to do: poll or epoll it level-triggered, and never read it.
  [[nodiscard]] virtual int event_fd() const = 0;
  // Takes completions, at most done.size(); returns how many. 0 is no sign of an idle queue. Does
  // the queue's own work too (short transfers are continued, lost connections come back), so call
  // it whenever event_fd() is readable. Needs no kick() after it.
  size_t reap(std::span<BlockCompletion> done);

  // Requests taken and not reaped.
  [[nodiscard]] size_t in_flight() const { return in_flight_; }
  [[nodiscard]] size_t capacity() const { return capacity_; }
  [[nodiscard]] BlockCounters counters() const { return counters_; }

 protected:
  BlockQueue(const BlockInfo& info, size_t capacity) : info_(info), capacity_(capacity) {}
  BlockQueue(const BlockQueue&) = delete;
  BlockQueue& operator=(const BlockQueue&) = delete;
  // A request that passed all checks, when there is room.
  virtual void take(const BlockRequest& request) = 0;
  virtual size_t collect(std::span<BlockCompletion> done) = 0;

  const BlockInfo info_;
  BlockCounters counters_;

 private:
  size_t in_flight_ = 0;
  const size_t capacity_;
};

// Threads: any. It must outlive its queues.
class BlockBackend {
 public:
  virtual ~BlockBackend() = default;
  [[nodiscard]] virtual const BlockInfo& info() const = 0;
  // At most info().max_queues at a time. May wait for a server, for a bounded time.
  virtual Result<std::unique_ptr<BlockQueue>> create_queue() = 0;
  // Drops what this host keeps of the disk's content. The target of a migration calls it when the
  // source has let go of the disk and before the guest's first read.
  virtual Result<> invalidate_cache() = 0;
  // The first offset from `offset` on that may hold anything but zeroes; the size: none. Any
  // thread.
  [[nodiscard]] virtual uint64_t next_data(uint64_t offset) const { return offset; }
  // Two disks with the same one are the same file or device of one host; empty: cannot be told.
  [[nodiscard]] virtual std::string identity() const { return {}; }
  // For people: "disk0 (/path, io_uring, direct)".
  [[nodiscard]] virtual std::string description() const = 0;

 protected:
  BlockBackend() = default;
  BlockBackend(const BlockBackend&) = delete;
  BlockBackend& operator=(const BlockBackend&) = delete;
};

// What submit() refuses, as an errno; 0: fine.
int check_block_request(const BlockInfo& info, const BlockRequest& request);

}  // namespace godwit::devices
