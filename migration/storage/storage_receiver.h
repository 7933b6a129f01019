// Writes what a StorageSender sends.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "migration/channel.h"
#include "migration/storage/aligned_buffer.h"
#include "migration/storage/storage_frame.h"
#include "vmm/storage.h"

namespace godwit::migration {

// Threads: one; bytes_written() from any. After an error the receiver is good for nothing.
class StorageReceiver {
 public:
  // The volumes outlive the receiver; in the order of MACHINE.
  StorageReceiver(std::vector<vmm::StorageVolume*> volumes, bool payload_checksums);
  ~StorageReceiver();

  // Receives one pass up to its end, puts it on the disks for good and acknowledges it. True: it
  // was the last one. Waits for its beginning as long as it takes: shutdown() of the channel ends
  // that. Errors: the channel's, the volumes', kCorrupt, kProtocol.
  Result<bool> receive_pass(Channel& channel, uint32_t pass);
  [[nodiscard]] uint64_t bytes_written() const {  // zeroes left out
    return bytes_written_.load(std::memory_order_relaxed);
  }

 private:
  Result<StorageFrame> receive_frame(Channel& channel, uint32_t pass);
  Result<> receive_data(Channel& channel, const StorageFrame& frame);
  Result<> flush();

  const std::vector<vmm::StorageVolume*> volumes_;
  const bool payload_checksums_;
  std::vector<uint64_t> sizes_;
  std::vector<bool> unflushed_;
  std::unique_ptr<std::byte[]> encoded_;
  AlignedBuffer chunk_;
  std::atomic<uint64_t> bytes_written_{0};
};

}  // namespace godwit::migration
