// Sends dirty pages over one channel.
#pragma once
#include <memory>
#include <vector>

#include "migration/channel.h"
#include "migration/page/compression_policy.h"
#include "migration/page/counters.h"
#include "migration/page/frame.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::migration {

class FreePages;
class RateLimiter;

// Which part of the pages a sender owns. Neighbouring groups are dealt out in stripes of
// kStripeGroups, so a page always takes the same channel: order needs no lock.
struct Shard {
  uint32_t index = 0;
  uint32_t count = 1;
};
inline constexpr uint64_t kStripeGroups = 8;  // 2 MiB

// Threads: one at a time. Allocates nothing after construction.
class PageSender {
 public:
  struct Options {
    bool payload_checksums = true;
    Compression compression = Compression::kAuto;
    RateLimiter* limiter = nullptr;  // may be null
  };
  // `memory` outlives the sender.
  PageSender(const vmm::GuestMemory& memory, const Options& options);
  ~PageSender();

  // Sends the pages of `pages` in `shard`, in ascending order, then the end of `iteration`, and
  // flushes unless told not to. Reads each page once. The guest may write meanwhile: a torn page is
  // dirty again. Leaves out what `free` has by the time it is looked at; without it (null),
  // nothing.
  enum class Flush { kYes, kNo };
  Result<> send_iteration(Channel& channel, const vmm::DirtyBitmap& pages, uint32_t iteration,
                          Shard shard, Flush flush = Flush::kYes, FreePages* free = nullptr);

  // Since construction.
  [[nodiscard]] const LivePageCounts& counts() const { return live_; }

 private:
  Result<> add_group(Channel& channel, uint64_t group, uint64_t pages);
  void classify(uint64_t group, uint64_t pages);
  Result<> send_frame(Channel& channel);
  size_t stage();
  Result<> send_raw(Channel& channel, std::span<const std::byte> staged);
  Result<> send_encoded(Channel& channel, std::span<const std::byte> payload, Codec codec);
  void collect_runs();
  Result<> pace(size_t wire_bytes);

  const vmm::GuestMemory& memory_;
  Options options_;
  CompressionPolicy policy_;
  uint32_t iteration_ = 0;
  std::vector<PageGroup> groups_;
  uint32_t data_pages_ = 0;
  ByteWriter head_;
  std::vector<ConstBuffer> buffers_;
  std::unique_ptr<std::byte[]> staging_;
  std::unique_ptr<char[]> lz4_state_;
  std::unique_ptr<std::byte[]> encoded_;
  PageCounts counts_;
  LivePageCounts live_;
};

}  // namespace godwit::migration
