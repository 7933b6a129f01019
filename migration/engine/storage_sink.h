// The target's storage connection and the thread that serves it.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "migration/channel.h"
#include "migration/storage/storage_receiver.h"

namespace godwit::migration {

// Threads: one controller; the worker is its own.
class StorageSink {
 public:
  // The volumes outlive the sink.
  StorageSink(std::vector<vmm::StorageVolume*> volumes, bool payload_checksums,
              std::unique_ptr<Channel> channel);
  ~StorageSink();

  // Waits until the last pass is on the disks for good. Errors: kTimeout; the worker's.
  Result<> wait_complete(Nanoseconds limit);
  // The worker's error, if any.
  [[nodiscard]] std::optional<Error> error() const;
  // No more errors are taken note of, the connection is ended and the worker joined.
  void shutdown() noexcept;
  [[nodiscard]] uint64_t bytes_written() const { return receiver_.bytes_written(); }

 private:
  void run();

  std::unique_ptr<Channel> channel_;
  StorageReceiver receiver_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable progress_;
  bool complete_ = false;
  bool stopping_ = false;
  std::optional<Error> error_;
  std::jthread thread_;
};

}  // namespace godwit::migration
