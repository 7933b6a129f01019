#include "devices/block/disk_volume.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>

namespace godwit::devices {

std::unique_ptr<DiskVolume> DiskVolume::of(Disk& disk, DirtyBlocks& changes) {
  if (disk.config.is_nbd() || disk.config.share) return nullptr;
  return std::unique_ptr<DiskVolume>(new DiskVolume(disk, changes));
}

DiskVolume::DiskVolume(Disk& disk, DirtyBlocks& changes)
    : disk_(disk),
      changes_(changes),
      description_{disk.config.id, disk.backend->info().size_bytes, disk.backend->identity()} {}

Result<> DiskVolume::run(BlockRequest request, std::string_view what) {
  BlockBackend& backend = disk_.incoming ? disk_.incoming->writer() : *disk_.backend;
  if (!queue_) {
    GODWIT_ASSIGN(queue_, backend.create_queue());
  }
  int error = queue_->submit(request);
  if (error == 0) {
    queue_->kick();
    std::array<BlockCompletion, 1> done;
    // A disk of the host answers.
    while (queue_->reap(done) == 0) {
      pollfd ready{queue_->event_fd(), POLLIN, 0};
      (void)::poll(&ready, 1, 1000);
    }
    error = done[0].error;
  }
  if (error == 0) return {};
  return error_from_errno(
      error, fmt::format("disk {}: cannot {} {} bytes at {} of {}", disk_.config.id, what,
                         request.length, request.offset, disk_.config.source()));
}

Result<> DiskVolume::read(uint64_t offset, std::span<std::byte> to) {
  const iovec part{to.data(), to.size()};
  return run({.op = BlockOp::kRead, .offset = offset, .length = to.size(), .iov = {&part, 1}},
             "read");
}

Result<> DiskVolume::prepare_to_write() {
  if (!disk_.incoming) {
    return make_error(Errc::kPrecondition, "disk {}: it does not wait for content",
                      disk_.config.id);
  }
  disk_.incoming->written();
  return {};
}

Result<> DiskVolume::write(uint64_t offset, std::span<const std::byte> from) {
  GODWIT_TRY(prepare_to_write());
  const iovec part{const_cast<std::byte*>(from.data()), from.size()};
  return run({.op = BlockOp::kWrite, .offset = offset, .length = from.size(), .iov = {&part, 1}},
             "write");
}

Result<> DiskVolume::write_zeroes(uint64_t offset, uint64_t length) {
  GODWIT_TRY(prepare_to_write());
  const BlockInfo& info = disk_.incoming->writer().info();
  const uint64_t most =
      std::max(info.max_write_zeroes_bytes / vmm::kStorageGranule * vmm::kStorageGranule,
               vmm::kStorageGranule);
  for (uint64_t at = offset; at < offset + length; at += most) {
    const BlockRequest request{.op = BlockOp::kWriteZeroes,
                               .unmap = info.can_discard,
                               .offset = at,
                               .length = std::min(most, offset + length - at)};
    GODWIT_TRY(run(request, "zero"));
  }
  return {};
}

Result<> DiskVolume::flush() {
  return run({.op = BlockOp::kFlush}, "flush");
}

void DiskVolume::keep() {
  if (!disk_.incoming) return;
  queue_.reset();  // it is the writer's
  disk_.incoming->keep();
  disk_.incoming.reset();
  if (!disk_.config.read_only || !disk_.lock) return;
  if (const auto shared = disk_.lock->become_reader(); !shared)
    spdlog::warn("{}: other readers are kept out", shared.error().message);
}

}  // namespace godwit::devices
