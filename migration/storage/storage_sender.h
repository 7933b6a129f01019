// Sends the content of volumes, pass after pass.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "migration/channel.h"
#include "migration/page/compression_policy.h"
#include "migration/parameters.h"
#include "migration/storage/aligned_buffer.h"
#include "migration/storage/storage_frame.h"
#include "vmm/storage.h"

namespace godwit::migration {

class RateLimiter;

// Since the sender was made.
struct StorageCounts {
  uint64_t data_bytes = 0;  // sent with content; before compression
  uint64_t zero_bytes = 0;  // holes and zeroes: named, not sent
  uint64_t wire_bytes = 0;  // heads and payloads
};

// Threads: one; counts() from any.
class StorageSender {
 public:
  struct Options {
    bool payload_checksums = true;
    Compression compression = Compression::kAuto;
    RateLimiter* limiter = nullptr;  // may be null
  };
  // The volumes outlive the sender.
  StorageSender(std::vector<vmm::StorageVolume*> volumes, const Options& options);
  ~StorageSender();

  // Sends the granules of `sets`, one set for each volume, and the end of the pass. Holes and
  // zeroes go as such. Errors: the channel's, the volumes', kCancelled of the limiter.
  Result<> send_pass(Channel& channel, std::span<const vmm::DirtyBitmap> sets, uint32_t pass,
                     bool last);
  [[nodiscard]] StorageCounts counts() const;

 private:
  Result<> send_stretch(Channel& channel, uint64_t from, uint64_t to);
  Result<> send_chunk(Channel& channel, uint64_t offset, std::span<const std::byte> bytes);
  Result<> send_data(Channel& channel, uint64_t offset, std::span<const std::byte> bytes);
  Result<> add_zeroes(Channel& channel, uint64_t offset, uint64_t length);
  Result<> send_zeroes(Channel& channel);
  Result<> send_frame(Channel& channel, StorageFrame frame, std::span<const std::byte> payload);

  const std::vector<vmm::StorageVolume*> volumes_;
  const Options options_;
  CompressionPolicy policy_;
  AlignedBuffer chunk_;
  std::unique_ptr<char[]> lz4_state_;
  std::unique_ptr<std::byte[]> encoded_;
  ByteWriter head_;
  uint16_t volume_ = 0;  // of the pass under way
  uint32_t pass_ = 0;
  // Zeroes that were found and not sent yet: neighbours go together.
  uint64_t zeroes_from_ = 0;
  uint64_t zeroes_length_ = 0;
  std::atomic<uint64_t> data_bytes_{0};
  std::atomic<uint64_t> zero_bytes_{0};
  std::atomic<uint64_t> wire_bytes_{0};
};

}  // namespace godwit::migration
