// A queue on io_uring: any number of requests go to the host in one system call.
#pragma once
#include <liburing.h>

#include <vector>

#include "devices/block/file_transfer.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class UringQueue final : public BlockQueue {
 public:
  // Errors: kUnsupported when this host lets us have no io_uring, or one that lacks an operation.
  // `file` must outlive the queue.
  static Result<std::unique_ptr<BlockQueue>> create(const BlockInfo& info, BlockFile& file,
                                                    size_t capacity);
  ~UringQueue() override;

  void kick() override;
  [[nodiscard]] int event_fd() const override { return events_.get(); }

 private:
  UringQueue(const BlockInfo& info, BlockFile& file, size_t capacity);
  Result<> set_up();
  void take(const BlockRequest& request) override;
  size_t collect(std::span<BlockCompletion> done) override;
  void enqueue(uint32_t slot);
  void want_retry(bool wanted);

  BlockFile& file_;
  io_uring ring_{};
  bool ring_made_ = false;
  UniqueFd events_;  // epoll: the ring, which is readable while it holds completions; retry_
  UniqueFd retry_;   // eventfd: the host took no requests for want of memory
  bool retry_wanted_ = false;
  std::vector<FileTransfer> slots_;
  std::vector<uint32_t> free_;
  size_t with_host_ = 0;  // calls that were sent and not answered
};

}  // namespace godwit::devices
