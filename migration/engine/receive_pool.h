// The target's data channels, one thread each.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "migration/channel.h"
#include "migration/page/page_receiver.h"

namespace godwit::migration {

// Each thread receives iteration after iteration and acknowledges each on its own connection.
// Threads: one controller; the workers are its own.
class ReceivePool {
 public:
  ReceivePool(vmm::GuestMemory& memory, vmm::DirtyBitmap& populated, bool payload_checksums,
              std::vector<std::unique_ptr<Channel>> channels);
  ~ReceivePool();

  // Waits until every channel has completed `iteration`. Errors: kTimeout; the first of a worker.
  Result<> wait_for(uint32_t iteration, Nanoseconds limit);
  // The first error of a worker, if any.
  [[nodiscard]] std::optional<Error> error() const;
  // No more errors are taken note of (the source closes its data channels when it is done), all
  // connections are ended and the workers joined.
  void shutdown() noexcept;

  [[nodiscard]] uint64_t pages() const;
  [[nodiscard]] uint64_t bytes_received() const;  // after shutdown(), or as of the last iteration

 private:
  struct Worker {
    Worker(vmm::GuestMemory& memory, vmm::DirtyBitmap& populated, bool checksums,
           std::unique_ptr<Channel> c)
        : channel(std::move(c)), receiver(memory, populated, checksums) {}
    std::unique_ptr<Channel> channel;
    PageReceiver receiver;
    uint32_t completed = 0;  // iterations
    uint64_t bytes = 0;
    std::jthread thread;
  };
  void run(uint32_t index);

  std::vector<std::unique_ptr<Worker>> workers_;
  mutable std::mutex mutex_;
  std::condition_variable progress_;
  bool stopping_ = false;
  std::optional<Error> error_;
};

}  // namespace godwit::migration
