// A queue on threads that make blocking calls: for hosts where io_uring is not to be had.
#pragma once
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "devices/block/file_transfer.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class ThreadQueue final : public BlockQueue {
 public:
  static constexpr size_t kThreads = 4;

  // Throws std::system_error when the host gives no eventfd or thread. `file` must outlive it.
  ThreadQueue(const BlockInfo& info, BlockFile& file, size_t capacity);
  ~ThreadQueue() override;

  void kick() override;
  [[nodiscard]] int event_fd() const override { return event_.get(); }

 private:
  struct Done {
    uint32_t slot;
    int error;
  };
  void take(const BlockRequest& request) override;
  size_t collect(std::span<BlockCompletion> done) override;
  void work();
  // The error that it ended with.
  int run(FileTransfer& transfer);

  BlockFile& file_;
  UniqueFd event_;  // set while done_ holds something
  std::vector<FileTransfer> slots_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> staged_;  // taken, not kicked

  std::mutex mutex_;  // guards what follows; a slot belongs to the list that names it
  std::condition_variable wake_;
  std::deque<uint32_t> work_;
  std::deque<Done> done_;
  uint64_t calls_ = 0;
  bool stopping_ = false;

  std::vector<std::jthread> threads_;  // last: starts when all else is there
};

}  // namespace godwit::devices
