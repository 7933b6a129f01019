#include "migration/engine/storage_sink.h"

#include <system_error>

#include "migration/engine/thread_util.h"

namespace godwit::migration {

StorageSink::StorageSink(std::vector<vmm::StorageVolume*> volumes, bool payload_checksums,
                         std::unique_ptr<Channel> channel)
    : channel_(std::move(channel)), receiver_(std::move(volumes), payload_checksums) {
  thread_ = std::jthread([this] { run(); });
}

StorageSink::~StorageSink() {
  shutdown();
}

void StorageSink::run() {
  name_thread("gw-disk-", 0);
  for (uint32_t pass = 1;; ++pass) {
    Result<bool> last = false;
    try {
      last = receiver_.receive_pass(*channel_, pass);
    } catch (const std::system_error& e) {
      last = make_error(Errc::kIo, "a host call failed at the target: {}", e.what());
    }
    if (last && !*last) continue;
    const std::lock_guard lock(mutex_);
    complete_ = last.has_value();
    if (!last && !stopping_) error_ = last.error().with_context("storage connection");
    progress_.notify_all();
    return;
  }
}

Result<> StorageSink::wait_complete(Nanoseconds limit) {
  std::unique_lock lock(mutex_);
  progress_.wait_for(lock, limit, [this] { return complete_ || error_; });
  if (complete_) return {};
  if (error_) return *error_;
  return make_error(Errc::kTimeout, "the rest of the disks did not arrive in {:.1f} s",
                    to_seconds(limit));
}

std::optional<Error> StorageSink::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void StorageSink::shutdown() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  channel_->shutdown();
  if (thread_.joinable()) thread_.join();
}

}  // namespace godwit::migration
