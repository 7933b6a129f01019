// Takes page frames from one channel and writes them into guest memory.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "migration/channel.h"
#include "migration/page/frame.h"
#include "migration/wire/checksum.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::migration {

// Threads: one at a time; several receivers may share `populated`, because a group (one word of it)
// comes over one channel only.
class PageReceiver {
 public:
  // `populated`: pages that may hold something else than zeroes; kept up to date here, so that zero
  // pages of an untouched guest stay untouched. Both outlive the receiver.
  PageReceiver(vmm::GuestMemory& memory, vmm::DirtyBitmap& populated, bool payload_checksums);
  ~PageReceiver();

  // Writes frames until the end of `iteration`. Waits without limit for the first byte of a frame
  // (the source may have nothing to send; liveness is the control connection's business), then at
  // most the channel's time-out for each of the rest. Errors: those of the channel; kCorrupt,
  // kProtocol. Memory is then unusable, which is harmless: the guest has not run here.
  Result<> receive_iteration(Channel& channel, uint32_t iteration);

  [[nodiscard]] uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }

 private:
  Result<> receive_frame(Channel& channel, const FrameHeader& header);
  Result<> receive_raw(Channel& channel, const FrameHeader& header);
  Result<> receive_lz4(Channel& channel, const FrameHeader& header);
  void collect_runs();
  void write_zero_pages();

  vmm::GuestMemory& memory_;
  vmm::DirtyBitmap& populated_;
  bool payload_checksums_;
  std::array<std::byte, kFrameHeaderBytes> header_bytes_{};
  std::vector<std::byte> group_bytes_;
  std::vector<PageGroup> groups_;
  std::vector<MutableBuffer> runs_;
  StreamingChecksum checksum_;
  std::unique_ptr<std::byte[]> encoded_;
  std::unique_ptr<std::byte[]> decoded_;
  std::atomic<uint64_t> pages_{0};
};

}  // namespace godwit::migration
