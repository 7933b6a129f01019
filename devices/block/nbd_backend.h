// Disks behind an NBD server, which is how both hosts of a migration reach the same disk.
//
// Locks: none of ours. The protocol has none, so the server must keep two writers apart, or the
// operator. A connection that is lost comes back by itself; see nbd_queue.h.
#pragma once
#include <mutex>

#include "devices/block/nbd_connection.h"

namespace godwit::devices {

class NbdBackend final : public BlockBackend {
 public:
  // Connects. Errors name the URI; see nbd_connection.h.
  static Result<std::unique_ptr<NbdBackend>> open(const DiskConfig& config);

  [[nodiscard]] const BlockInfo& info() const override { return server_.info; }
  Result<std::unique_ptr<BlockQueue>> create_queue() override;
  Result<> invalidate_cache() override { return {}; }  // keeps nothing
  [[nodiscard]] std::string description() const override;

 private:
  NbdBackend(const DiskConfig& config, const NbdExport& server, NbdHandle first)
      : config_(config), server_(server), first_(std::move(first)) {}

  const DiskConfig config_;
  const NbdExport server_;
  std::mutex mutex_;
  NbdHandle first_;  // the connection of open(), for the first queue
};

}  // namespace godwit::devices
