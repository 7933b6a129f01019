#include "devices/block/nbd_backend.h"

#include <libnbd.h>

#include "devices/block/nbd_queue.h"

namespace godwit::devices {

Result<std::unique_ptr<NbdBackend>> NbdBackend::open(const DiskConfig& config) {
  GODWIT_ASSIGN(NbdHandle handle, nbd_begin(config));
  GODWIT_TRY(nbd_wait_connected(config, handle.get()));
  GODWIT_ASSIGN(const NbdExport server, nbd_look(config, handle.get()));
  return std::unique_ptr<NbdBackend>(new NbdBackend(config, server, std::move(handle)));
}

Result<std::unique_ptr<BlockQueue>> NbdBackend::create_queue() {
  NbdHandle handle;
  {
    const std::lock_guard lock(mutex_);
    handle = std::move(first_);
  }
  if (!handle) {
    GODWIT_ASSIGN(handle, nbd_begin(config_));
    GODWIT_TRY(nbd_wait_connected(config_, handle.get()));
    GODWIT_ASSIGN(const NbdExport again, nbd_look(config_, handle.get()));
    GODWIT_TRY(nbd_check_same(config_, server_, again));
  }
  return std::unique_ptr<BlockQueue>(
      std::make_unique<NbdQueue>(config_, server_, std::move(handle)));
}

std::string NbdBackend::description() const {
  return fmt::format("{} ({}, {} bytes{})", config_.id, config_.nbd_uri, server_.info.size_bytes,
                     server_.info.read_only ? ", read-only" : "");
}

}  // namespace godwit::devices
