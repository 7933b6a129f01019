#include "devices/block/disk.h"

#include "devices/block/file_backend.h"
#include "devices/block/nbd_backend.h"

namespace godwit::devices {
namespace {

LockMode lock_mode(const DiskConfig& config) {
  if (config.share) return LockMode::kShared;
  return config.read_only ? LockMode::kReadOnly : LockMode::kExclusive;
}

Result<Disk> open_file_disk(const DiskConfig& config) {
  GODWIT_ASSIGN(auto backend, FileBackend::open(config));
  Disk disk{.config = config};
  if (config.lock) {
    GODWIT_ASSIGN(disk.lock_fd, backend->reopen());
  }
  disk.backend = std::move(backend);
  return disk;
}

Result<Disk> open_nbd_disk(const DiskConfig& config) {
  GODWIT_ASSIGN(auto backend, NbdBackend::open(config));
  Disk disk{.config = config};
  disk.backend = std::move(backend);
  return disk;
}

}  // namespace

Result<Disk> open_disk(const DiskConfig& config) {
  GODWIT_ASSIGN(Disk disk, config.is_nbd() ? open_nbd_disk(config) : open_file_disk(config));
  const uint16_t most = disk.backend->info().max_queues;
  if (config.queues > most) {
    return make_error(Errc::kInvalidArgument,
                      "disk {}: queues={} is too many for {}, which serves {} connection(s) safely "
                      "(no multi-conn); use queues={}",
                      config.id, config.queues, config.source(), most, most);
  }
  return disk;
}

Result<> lock_disk(Disk& disk, DiskUse use, uint64_t guest_id) {
  if (!disk.lock_fd) return {};
  const DiskConfig& config = disk.config;
  const auto take = use == DiskUse::kRun ? &DiskLock::own : &DiskLock::claim;
  GODWIT_ASSIGN(auto lock, take(std::move(disk.lock_fd), lock_mode(config), guest_id,
                                fmt::format("disk {}: {}", config.id, config.path)));
  disk.lock = std::move(lock);
  return {};
}

Result<Disk> open_disk(const DiskConfig& config, DiskUse use, uint64_t guest_id) {
  GODWIT_ASSIGN(Disk disk, open_disk(config));
  GODWIT_TRY(lock_disk(disk, use, guest_id));
  return disk;
}

}  // namespace godwit::devices
