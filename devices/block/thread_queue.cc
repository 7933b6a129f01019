#include "devices/block/thread_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "vmm/base/syscall.h"

namespace godwit::devices {

ThreadQueue::ThreadQueue(const BlockInfo& info, BlockFile& file, size_t capacity)
    : BlockQueue(info, capacity),
      file_(file),
      event_(check_syscall(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      slots_(capacity) {
  for (size_t i = capacity; i-- > 0;) free_.push_back(static_cast<uint32_t>(i));
  try {
    for (size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this] { work(); });
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    throw;
  }
}

ThreadQueue::~ThreadQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  threads_.clear();
}

void ThreadQueue::take(const BlockRequest& request) {
  const uint32_t slot = free_.back();
  slots_[slot].start(file_, request);
  free_.pop_back();
  staged_.push_back(slot);
}

void ThreadQueue::kick() {
  if (staged_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    work_.insert(work_.end(), staged_.begin(), staged_.end());
  }
  if (staged_.size() == 1) {
    wake_.notify_one();
  } else {
    wake_.notify_all();
  }
  staged_.clear();
}

void ThreadQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !work_.empty(); });
    if (stopping_) return;
    const uint32_t slot = work_.front();
    work_.pop_front();
    lock.unlock();
    const int error = run(slots_[slot]);
    lock.lock();
    if (done_.empty()) {
      const uint64_t one = 1;
      check_syscall(::write(event_.get(), &one, sizeof one), "write(eventfd)");
    }
    done_.push_back({slot, error});
  }
}

int ThreadQueue::run(FileTransfer& transfer) {
  uint64_t calls = 0;
  std::optional<int> over;
  do {
    ++calls;
    over = transfer.answer(perform(file_, transfer.next()));
  } while (!over);
  const std::lock_guard lock(mutex_);
  calls_ += calls;
  return *over;
}

size_t ThreadQueue::collect(std::span<BlockCompletion> done) {
  const std::lock_guard lock(mutex_);
  const size_t n = std::min(done.size(), done_.size());
  for (size_t i = 0; i < n; ++i) {
    const Done& one = done_.front();
    done[i] = {slots_[one.slot].tag(), one.error};
    free_.push_back(one.slot);
    done_.pop_front();
  }
  if (n > 0 && done_.empty()) {
    uint64_t count = 0;
    check_syscall(::read(event_.get(), &count, sizeof count), "read(eventfd)");
  }
  counters_.host_calls = calls_;
  return n;
}

}  // namespace godwit::devices
