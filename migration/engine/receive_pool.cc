#include "migration/engine/receive_pool.h"

#include <algorithm>

#include "migration/engine/thread_util.h"

namespace godwit::migration {

ReceivePool::ReceivePool(vmm::GuestMemory& memory, vmm::DirtyBitmap& populated,
                         bool payload_checksums, std::vector<std::unique_ptr<Channel>> channels) {
  for (auto& channel : channels) {
    workers_.push_back(
        std::make_unique<Worker>(memory, populated, payload_checksums, std::move(channel)));
  }
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    workers_[i]->thread = std::jthread([this, i] { run(i); });
  }
}

ReceivePool::~ReceivePool() {
  shutdown();
}

void ReceivePool::run(uint32_t index) {
  name_thread("gw-recv-", index);
  Worker& worker = *workers_[index];
  for (uint32_t iteration = 1;; ++iteration) {
    Result<> done = worker.receiver.receive_iteration(*worker.channel, iteration);
    if (done) {
      const std::lock_guard lock(mutex_);
      worker.completed = iteration;
      worker.bytes = worker.channel->stats().bytes_received;
      progress_.notify_all();
    }
    if (done) {
      const auto ack = encode_ack(iteration);
      done = worker.channel->send(ConstBuffer(ack));
      if (done) done = worker.channel->flush();
    }
    if (!done) {
      const std::lock_guard lock(mutex_);
      if (!stopping_ && !error_) {
        error_ = done.error().with_context(fmt::format("data channel {}", index));
      }
      progress_.notify_all();
      return;
    }
  }
}

Result<> ReceivePool::wait_for(uint32_t iteration, Nanoseconds limit) {
  std::unique_lock lock(mutex_);
  const auto complete = [&] {
    return std::ranges::all_of(workers_, [&](auto& w) { return w->completed >= iteration; });
  };
  // Complete counts even when a channel was lost right behind it.
  progress_.wait_for(lock, limit, [&] { return complete() || error_; });
  if (complete()) return {};
  if (error_) return *error_;
  return make_error(Errc::kTimeout, "the pages of iteration {} did not arrive in {:.1f} s",
                    iteration, to_seconds(limit));
}

std::optional<Error> ReceivePool::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void ReceivePool::shutdown() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  for (auto& worker : workers_) worker->channel->shutdown();
  for (auto& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
}

uint64_t ReceivePool::pages() const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->receiver.pages();
  return sum;
}

uint64_t ReceivePool::bytes_received() const {
  const std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->bytes;
  return sum;
}

}  // namespace godwit::migration
