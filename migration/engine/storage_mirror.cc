#include "migration/engine/storage_mirror.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "migration/engine/thread_util.h"
#include "vmm/base/check.h"

namespace godwit::migration {
namespace {

// A pass that moved less measures the round trip and the flush, not the bandwidth.
constexpr uint64_t kBytesThatMeasure = 1u << 20;
constexpr Nanoseconds kIdleWait = std::chrono::hours(1);

}  // namespace

StorageMirror::StorageMirror(std::vector<vmm::StorageVolume*> volumes,
                             std::unique_ptr<Channel> channel,
                             const StorageSender::Options& options)
    : volumes_(std::move(volumes)), channel_(std::move(channel)), sender_(volumes_, options) {
  for (const vmm::StorageVolume* volume : volumes_) {
    const uint64_t size = volume->description().size_bytes;
    total_bytes_ += size;
    next_.emplace_back(vmm::granules_of(size));
    sending_.emplace_back(vmm::granules_of(size));
  }
  thread_ = std::jthread([this] { run(); });
}

StorageMirror::~StorageMirror() {
  shutdown();
}

void StorageMirror::start_tracking() {
  for (size_t v = 0; v < volumes_.size(); ++v) {
    volumes_[v]->start_tracking();
    next_[v].set_all();
  }
  tracking_ = true;
}

uint64_t StorageMirror::harvest() {
  uint64_t bytes = 0;
  for (size_t v = 0; v < volumes_.size(); ++v) {
    volumes_[v]->harvest(next_[v]);
    bytes +=
        std::min(next_[v].count() * vmm::kStorageGranule, volumes_[v]->description().size_bytes);
  }
  return bytes;
}

void StorageMirror::start_pass(bool last) {
  const std::lock_guard lock(mutex_);
  GODWIT_CHECK(!busy_ || error_, "one pass at a time");
  if (error_) return;
  for (size_t v = 0; v < volumes_.size(); ++v) {
    std::swap(next_[v], sending_[v]);
    next_[v].clear_all();
  }
  ++pass_;
  last_ = last;
  busy_ = true;
  work_.notify_all();
}

Result<bool> StorageMirror::wait(Nanoseconds limit) {
  std::unique_lock lock(mutex_);
  done_.wait_for(lock, limit, [this] { return !busy_ || error_; });
  if (error_) return *error_;
  return !busy_;
}

void StorageMirror::run() {
  name_thread("gw-disk-", 0);
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || busy_; });
    if (stopping_) return;
    const uint32_t pass = pass_;
    const bool last = last_;
    lock.unlock();
    Result<> sent;
    try {
      sent = send_and_confirm(sending_, pass, last);
    } catch (const std::system_error& e) {
      sent = make_error(Errc::kIo, "a host call failed: {}", e.what());
    }
    const Nanoseconds cpu = thread_cpu_time();
    lock.lock();
    cpu_ = cpu;
    busy_ = false;
    if (!sent) error_ = sent.error().with_context("disks");
    done_.notify_all();
    if (!sent) return;
  }
}

Result<> StorageMirror::send_and_confirm(std::span<const vmm::DirtyBitmap> sets, uint32_t pass,
                                         bool last) {
  const TimePoint start = now();
  const StorageCounts before = sender_.counts();
  GODWIT_TRY(sender_.send_pass(*channel_, sets, pass, last));
  // However long its disks take: that the target lives is seen on the control connection.
  for (;;) {
    GODWIT_ASSIGN(const bool readable, channel_->wait_readable(kIdleWait));
    if (readable) break;
  }
  std::array<std::byte, kStorageAckBytes> bytes;
  GODWIT_TRY(channel_->receive(MutableBuffer(bytes)));
  GODWIT_ASSIGN(const StorageAck ack, decode_storage_ack(bytes));
  if (ack.pass != pass) {
    return make_error(Errc::kProtocol, "the target acknowledged pass {} instead of {}", ack.pass,
                      pass);
  }
  const StorageCounts after = sender_.counts();
  const uint64_t moved = after.data_bytes - before.data_bytes;
  const Nanoseconds took = std::max<Nanoseconds>(now() - start - ack.flush, Nanoseconds(1));
  const std::lock_guard lock(mutex_);
  flush_ = ack.flush;
  if (moved >= kBytesThatMeasure || bytes_per_second_ == 0)
    bytes_per_second_ = static_cast<double>(std::max<uint64_t>(moved, 1)) / to_seconds(took);
  return {};
}

double StorageMirror::bytes_per_second() const {
  const std::lock_guard lock(mutex_);
  return bytes_per_second_;
}

Nanoseconds StorageMirror::predict(uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  if (bytes == 0 || bytes_per_second_ <= 0) return {};
  return flush_ + from_seconds(static_cast<double>(bytes) / bytes_per_second_);
}

void StorageMirror::shutdown() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_all();
  }
  channel_->shutdown();
  if (thread_.joinable()) thread_.join();
  if (!tracking_) return;
  tracking_ = false;
  for (vmm::StorageVolume* volume : volumes_) volume->stop_tracking();
}

Nanoseconds StorageMirror::cpu_time() const {
  const std::lock_guard lock(mutex_);
  return cpu_;
}

}  // namespace godwit::migration
