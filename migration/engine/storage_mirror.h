// The source's storage connection and the thread that serves it.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "migration/channel.h"
#include "migration/storage/storage_sender.h"

namespace godwit::migration {

// Mirrors volumes in passes: the first over everything, each later one over what was found to have
// changed since. A pass reads only after its set was harvested, so whatever is written meanwhile is
// in the next set.
//
// Threads: one controller; the worker is its own.
class StorageMirror {
 public:
  StorageMirror(std::vector<vmm::StorageVolume*> volumes, std::unique_ptr<Channel> channel,
                const StorageSender::Options& options);
  ~StorageMirror();

  // Once, before the first pass, which will have everything in it.
  void start_tracking();
  // Adds what changed since to the set of the next pass; between passes only. Returns how many
  // bytes that set has.
  uint64_t harvest();
  // Lets the worker send the set, which is empty afterwards. `last`: the machine is paused.
  void start_pass(bool last);
  // Whether the pass is on the target's disks for good, waiting at most `limit`; true between
  // passes. The first error ends it.
  Result<bool> wait(Nanoseconds limit);
  // Ends the connection, joins the worker and stops tracking.
  void shutdown() noexcept;

  [[nodiscard]] uint64_t total_bytes() const { return total_bytes_; }
  [[nodiscard]] uint32_t passes() const { return pass_; }
  [[nodiscard]] StorageCounts counts() const { return sender_.counts(); }
  // What the bytes of a pass cost, by the latest one that was large enough to tell; 0: none was.
  [[nodiscard]] double bytes_per_second() const;
  // What `bytes` in the last pass would take.
  [[nodiscard]] Nanoseconds predict(uint64_t bytes) const;
  [[nodiscard]] ChannelStats stats() const { return channel_->stats(); }  // after shutdown()
  [[nodiscard]] Nanoseconds cpu_time() const;

 private:
  void run();
  Result<> send_and_confirm(std::span<const vmm::DirtyBitmap> sets, uint32_t pass, bool last);

  const std::vector<vmm::StorageVolume*> volumes_;
  std::unique_ptr<Channel> channel_;
  StorageSender sender_;
  uint64_t total_bytes_ = 0;
  std::vector<vmm::DirtyBitmap> next_;     // the controller's
  std::vector<vmm::DirtyBitmap> sending_;  // the worker's while busy_, else the controller's
  uint32_t pass_ = 0;
  bool tracking_ = false;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable work_;
  std::condition_variable done_;
  bool busy_ = false;
  bool last_ = false;
  bool stopping_ = false;
  std::optional<Error> error_;
  double bytes_per_second_ = 0;
  Nanoseconds flush_{};  // of the latest pass
  Nanoseconds cpu_{};
  std::jthread thread_;
};

}  // namespace godwit::migration
