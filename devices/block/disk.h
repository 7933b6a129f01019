// A disk as a machine has it: the backend and the lock that guards it.
#pragma once
#include <memory>
#include <optional>

#include "devices/block/block.h"
#include "devices/block/config.h"
#include "devices/block/disk_lock.h"
#include "devices/block/incoming_file.h"

namespace godwit::devices {

enum class DiskUse {
  kRun,      // a new or restored guest uses it from now on
  kIncoming  // a guest that moves here uses it after lock->take_over()
};

struct Disk {
  DiskConfig config;
  std::unique_ptr<BlockBackend> backend;
  UniqueFd lock_fd;  // what lock_disk() will lock
  // None: NBD, or lock=off. Drop it with the disk; see disk_lock.h for its part in a move.
  std::optional<DiskLock> lock;
  // Of a disk whose content comes with its guest, until the guest is here.
  std::unique_ptr<IncomingFile> incoming;
};

// Opens the disk, without its lock; nothing is written. Errors name the disk: those of the backend,
// and kInvalidArgument when it cannot have that many queues.
// `comes`: the volume whose content the guest that arrives brings along for it; see IncomingFile.
Result<Disk> open_disk(const DiskConfig& config, const vmm::VolumeDescription* comes = nullptr);
// Takes the lock that guards it, if it has one; of a disk whose content comes, nobody else may have
// it, whatever the `use`. Errors name the disk: those of the lock.
Result<> lock_disk(Disk& disk, DiskUse use, uint64_t guest_id);
// Both.
Result<Disk> open_disk(const DiskConfig& config, DiskUse use, uint64_t guest_id);

}  // namespace godwit::devices
