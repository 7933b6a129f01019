// A disk of this host's own as migration sees it (vmm/storage.h).
#pragma once
#include <memory>

#include "devices/block/block.h"
#include "devices/block/dirty_blocks.h"
#include "devices/block/disk.h"
#include "vmm/storage.h"

namespace godwit::devices {

// Reads and writes go through a queue of its own, made when it is first needed. The guest's
// requests are marked in `changes` by whoever carries them.
class DiskVolume final : public vmm::StorageVolume {
 public:
  // Null for a disk that is not this host's own: NBD, share=on. Both outlive the volume.
  static std::unique_ptr<DiskVolume> of(Disk& disk, DirtyBlocks& changes);

  [[nodiscard]] const vmm::VolumeDescription& description() const override { return description_; }
  void start_tracking() override { changes_.start(); }
  void harvest(vmm::DirtyBitmap& into) override { changes_.harvest(into); }
  void stop_tracking() noexcept override { changes_.stop(); }
  uint64_t next_data(uint64_t offset) override { return disk_.backend->next_data(offset); }
  Result<> read(uint64_t offset, std::span<std::byte> to) override;
  Result<> write(uint64_t offset, std::span<const std::byte> from) override;
  Result<> write_zeroes(uint64_t offset, uint64_t length) override;
  Result<> flush() override;
  void keep() override;

 private:
  DiskVolume(Disk& disk, DirtyBlocks& changes);
  // Runs a request to its end; `what` begins the error text.
  Result<> run(BlockRequest request, std::string_view what);
  Result<> prepare_to_write();

  Disk& disk_;
  DirtyBlocks& changes_;
  const vmm::VolumeDescription description_;
  std::unique_ptr<BlockQueue> queue_;
};

}  // namespace godwit::devices
