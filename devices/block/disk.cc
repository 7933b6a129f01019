#include "devices/block/disk.h"

#include "devices/block/file_backend.h"
#include "devices/block/nbd_backend.h"

namespace godwit::devices {
namespace {

LockMode lock_mode(const DiskConfig& config) {
  if (config.share) return LockMode::kShared;
  return config.read_only ? LockMode::kReadOnly : LockMode::kExclusive;
}

Result<> expect_file(const DiskConfig& config) {
  GODWIT_ASSIGN(const bool missing, awaits_content(config));
  if (!missing) return {};
  return make_error(Errc::kNotFound,
                    "disk {}: there is no {}, and create=on makes it only at `godwit receive`, for "
                    "a guest that brings a disk {} along: `godwit migrate --copy-storage`",
                    config.id, config.path, config.id);
}

Result<Disk> open_file_disk(const DiskConfig& config, const vmm::VolumeDescription* comes) {
  Disk disk{.config = config};
  if (comes == nullptr) {
    GODWIT_TRY(expect_file(config));
  } else {
    GODWIT_ASSIGN(disk.incoming, IncomingFile::open(config, *comes));
  }
  GODWIT_ASSIGN(auto backend, FileBackend::open(config));
  if (config.lock) {
    // Even a disk that its guest only reads is written now.
    const FileBackend& writer = disk.incoming ? disk.incoming->writer() : *backend;
    GODWIT_ASSIGN(disk.lock_fd, writer.reopen());
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

Result<Disk> open_disk(const DiskConfig& config, const vmm::VolumeDescription* comes) {
  // It says what is wrong with a shared disk.
  if (comes != nullptr && config.is_nbd()) GODWIT_TRY(IncomingFile::open(config, *comes));
  GODWIT_ASSIGN(Disk disk, config.is_nbd() ? open_nbd_disk(config) : open_file_disk(config, comes));
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
  const bool copied = disk.incoming != nullptr;
  const auto take = copied || use == DiskUse::kRun ? &DiskLock::own : &DiskLock::claim;
  auto lock = take(std::move(disk.lock_fd), copied ? LockMode::kExclusive : lock_mode(config),
                   guest_id, fmt::format("disk {}: {}", config.id, config.path));
  if (!lock && copied) {
    return lock.error().with_context(
        "--copy-storage needs a disk of the target's own, which nobody else uses");
  }
  if (!lock) return lock.error();
  disk.lock = std::move(*lock);
  return {};
}

Result<Disk> open_disk(const DiskConfig& config, DiskUse use, uint64_t guest_id) {
  GODWIT_ASSIGN(Disk disk, open_disk(config));
  GODWIT_TRY(lock_disk(disk, use, guest_id));
  return disk;
}

}  // namespace godwit::devices
