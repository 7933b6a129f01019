#include "migration/engine/send_pool.h"

#include <pthread.h>

#include "migration/engine/thread_util.h"

namespace godwit::migration {

SendPool::SendPool(const vmm::GuestMemory& memory, std::vector<std::unique_ptr<Channel>> channels,
                   const PageSender::Options& options) {
  for (auto& channel : channels) {
    workers_.push_back(std::make_unique<Worker>(memory, std::move(channel), options));
  }
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    workers_[i]->thread = std::jthread([this, i] { run(i); });
  }
}

SendPool::~SendPool() {
  shutdown();
}

void SendPool::start(const vmm::DirtyBitmap& pages, uint32_t iteration, FreePages* free) {
  const std::lock_guard lock(mutex_);
  pages_ = &pages;
  free_ = free;
  iteration_ = iteration;
  busy_ = static_cast<uint32_t>(workers_.size());
  work_.notify_all();
}

Result<bool> SendPool::wait(Nanoseconds limit) {
  std::unique_lock lock(mutex_);
  done_.wait_for(lock, limit, [this] { return busy_ == 0 || error_; });
  if (error_) return *error_;
  return busy_ == 0;
}

void SendPool::run(uint32_t index) {
  name_thread("gw-send-", index);
  Worker& worker = *workers_[index];
  uint32_t last = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stopping_ || iteration_ != last; });
    if (stopping_) return;
    last = iteration_;
    const vmm::DirtyBitmap& pages = *pages_;
    FreePages* const free = free_;
    lock.unlock();
    const Result<> sent = send_and_confirm(worker, index, pages, last, free);
    const Nanoseconds cpu = thread_cpu_time();
    lock.lock();
    worker.cpu = cpu;
    if (!sent && !error_) error_ = sent.error();
    if (--busy_ == 0 || error_) done_.notify_all();
    if (!sent) return;
  }
}

Result<> SendPool::send_and_confirm(Worker& worker, uint32_t index, const vmm::DirtyBitmap& pages,
                                    uint32_t iteration, FreePages* free) {
  Channel& channel = *worker.channel;
  const Shard shard{index, static_cast<uint32_t>(workers_.size())};
  GODWIT_TRY(worker.sender.send_iteration(channel, pages, iteration, shard, PageSender::Flush::kYes,
                                          free));
  std::array<std::byte, kAckBytes> ack;
  GODWIT_TRY(channel.receive(MutableBuffer(ack)));
  GODWIT_ASSIGN(const uint32_t acknowledged, decode_ack(ack));
  if (acknowledged != iteration) {
    return make_error(Errc::kProtocol, "the target acknowledged iteration {} instead of {}",
                      acknowledged, iteration);
  }
  return {};
}

void SendPool::shutdown() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_all();
  }
  for (auto& worker : workers_) worker->channel->shutdown();
  for (auto& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
}

PageCounts SendPool::counts() const {
  PageCounts sum;
  for (const auto& worker : workers_) sum += worker->sender.counts().read();
  return sum;
}

ChannelStats SendPool::stats() const {
  ChannelStats sum;
  for (const auto& worker : workers_) {
    const ChannelStats s = worker->channel->stats();
    sum.bytes_sent += s.bytes_sent;
    sum.bytes_received += s.bytes_received;
    sum.send_calls += s.send_calls;
    sum.receive_calls += s.receive_calls;
  }
  return sum;
}

Nanoseconds SendPool::cpu_time() const {
  const std::lock_guard lock(mutex_);
  Nanoseconds sum{};
  for (const auto& worker : workers_) sum += worker->cpu;
  return sum;
}

}  // namespace godwit::migration
