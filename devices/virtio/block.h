// Block device (virtio 1.2, 5.2) on a disk of the host. Each queue has a thread.
//
// Requests in flight are finished before the guest moves: what a driver sees completed is done,
// once; what it does not see was not begun, and is begun where the guest goes on. No state beside
// the queues.
//
// An error of the host is the request's status and no more: what to do about it is the guest's.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "devices/block/dirty_blocks.h"
#include "devices/block/disk.h"
#include "devices/block/disk_volume.h"
#include "devices/virtio/block_request.h"
#include "devices/virtio/model.h"

namespace godwit::devices::virtio {

struct BlockDeviceCounters {
  uint64_t requests = 0;  // answered
  uint64_t failed = 0;    // of these, not with success
};

class Block final : public Model {
 public:
  explicit Block(Disk disk);
  ~Block() override;

  [[nodiscard]] std::string_view type() const override { return "virtio-blk"; }
  [[nodiscard]] uint16_t device_id() const override;
  [[nodiscard]] uint32_t class_code() const override { return 0x010000; }  // a SCSI controller
  [[nodiscard]] std::string traits() const override;
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::vector<uint16_t> queue_sizes() const override;
  [[nodiscard]] unsigned threads() const override { return disk_.config.queues; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;

  // Takes the disk's lock, or the claim of a guest that arrives, and makes the host's queues.
  Result<> admit(uint64_t guest_id, bool arriving) override;
  void start(Transport& transport, uint64_t features, unsigned thread) override;
  void stop(unsigned thread) override;
  void notified(uint16_t queue) override;
  void quiesce(unsigned thread) override;
  void resume(unsigned thread) override;
  void release() override;
  void reclaim() override;

  // Null when the disk is not this host's own.
  [[nodiscard]] vmm::StorageVolume* volume() { return volume_.get(); }
  // What it stands on.
  [[nodiscard]] const Disk& disk() const { return disk_; }
  // Any thread.
  [[nodiscard]] BlockDeviceCounters counters() const;

 private:
  struct Lane;
  void begin(Lane& lane);
  bool begin_one(Lane& lane, BlockSlot& slot);
  void finish(Lane& lane);
  void answer(Lane& lane, BlockSlot& slot, uint8_t status);
  void drain(Lane& lane);

  Disk disk_;
  DirtyBlocks changes_;
  std::unique_ptr<DiskVolume> volume_;
  Transport* transport_ = nullptr;
  std::vector<std::unique_ptr<Lane>> lanes_;  // one for each queue
  // The lock was lost while the guest stood still: it runs, and its disk gives errors.
  std::atomic<bool> lost_{false};
  bool released_ = false;
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> failed_{0};
};

}  // namespace godwit::devices::virtio
