#include "devices/block/disk.h"

#include "devices/block/file_backend.h"
#include "devices/block/nbd_backend.h"

namespace godwit::devices {
namespace {

LockMode lock_mode(const DiskConfig& config) {
  if (config.share) return LockMode::kShared;
  return config.read_only ? LockMode::kReadOnly : LockMode::kExclusive;
}

Result<Disk> open_file_disk(const DiskConfig& config, DiskUse use, uint64_t guest_id) {
  GODWIT_ASSIGN(auto backend, FileBackend::open(config));
  Disk disk{config, nullptr, std::nullopt};
  if (config.lock) {
    GODWIT_ASSIGN(UniqueFd fd, backend->reopen());
    const auto take = use == DiskUse::kRun ? &DiskLock::own : &DiskLock::claim;
    GODWIT_ASSIGN(auto lock, take(std::move(fd), lock_mode(config), guest_id,
                                  fmt::format("disk {}: {}", config.id, config.path)));
    disk.lock = std::move(lock);
  }
  disk.backend = std::move(backend);
  return disk;
}

Result<Disk> open_nbd_disk(const DiskConfig& config) {
  GODWIT_ASSIGN(auto backend, NbdBackend::open(config));
  Disk disk{config, nullptr, std::nullopt};
  disk.backend = std::move(backend);
  return disk;
}

}  // namespace

Result<Disk> open_disk(const DiskConfig& config, DiskUse use, uint64_t guest_id) {
  GODWIT_ASSIGN(Disk disk,
                config.is_nbd() ? open_nbd_disk(config) : open_file_disk(config, use, guest_id));
  const uint16_t most = disk.backend->info().max_queues;
  if (config.queues > most) {
    return make_error(Errc::kInvalidArgument,
                      "disk {}: queues={} is too many for {}, which serves {} connection(s) safely "
                      "(no multi-conn); use queues={}",
                      config.id, config.queues, config.source(), most, most);
  }
  return disk;
}

}  // namespace godwit::devices
