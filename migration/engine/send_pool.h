// The source's data channels, one thread each.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "migration/channel.h"
#include "migration/page/page_sender.h"

namespace godwit::migration {

// Threads: one controller; the workers are its own.
class SendPool {
 public:
  SendPool(const vmm::GuestMemory& memory, std::vector<std::unique_ptr<Channel>> channels,
           const PageSender::Options& options);
  ~SendPool();

  // Lets every worker send its shard of `pages` without those in `free` (null: all), which must
  // both stay until wait() says done, `pages` as it is.
  void start(const vmm::DirtyBitmap& pages, uint32_t iteration, FreePages* free = nullptr);
  // Whether every worker has sent its part and had it acknowledged, waiting at most `limit`. The
  // first error of a worker ends it; the pool is then good for nothing but destruction.
  Result<bool> wait(Nanoseconds limit);
  // Ends all connections and joins the workers.
  void shutdown() noexcept;

  [[nodiscard]] PageCounts counts() const;
  [[nodiscard]] ChannelStats stats() const;    // between iterations only
  [[nodiscard]] Nanoseconds cpu_time() const;  // of the workers, up to their last iteration

 private:
  struct Worker {
    Worker(const vmm::GuestMemory& memory, std::unique_ptr<Channel> c,
           const PageSender::Options& options)
        : channel(std::move(c)), sender(memory, options) {}
    std::unique_ptr<Channel> channel;
    PageSender sender;
    Nanoseconds cpu{};
    std::jthread thread;
  };
  void run(uint32_t index);
  Result<> send_and_confirm(Worker& worker, uint32_t index, const vmm::DirtyBitmap& pages,
                            uint32_t iteration, FreePages* free);

  std::vector<std::unique_ptr<Worker>> workers_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  const vmm::DirtyBitmap* pages_ = nullptr;
  FreePages* free_ = nullptr;
  uint32_t iteration_ = 0;
  uint32_t busy_ = 0;
  bool stopping_ = false;
  std::optional<Error> error_;
};

}  // namespace godwit::migration
