#include "tests/support/memory_channel.h"

#include <algorithm>
#include <cstring>

namespace godwit::support {

template <class Ready>
bool MemoryPipe::wait(std::unique_lock<std::mutex>& lock, Nanoseconds limit, Ready ready) {
  // Far limits would overflow the clock.
  return changed_.wait_for(lock, std::min<Nanoseconds>(limit, std::chrono::hours(24)), ready);
}

MemoryPipe::Moved MemoryPipe::write(ConstBuffer bytes, Nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  const bool ready = wait(lock, timeout, [&] {
    return writing_cancelled_ || writer_ended_ || reader_ended_ || size_ < ring_.size();
  });
  if (writing_cancelled_) return {Outcome::kCancelled};
  if (writer_ended_ || reader_ended_) return {Outcome::kEnded};
  if (!ready) return {Outcome::kTimeout};
  const size_t count = std::min(bytes.size(), ring_.size() - size_);
  const size_t end = (begin_ + size_) % ring_.size();
  const size_t first = std::min(count, ring_.size() - end);
  std::memcpy(ring_.data() + end, bytes.data(), first);
  std::memcpy(ring_.data(), bytes.data() + first, count - first);
  size_ += count;
  changed_.notify_all();
  return {Outcome::kMoved, count};
}

MemoryPipe::Moved MemoryPipe::wait_readable(Nanoseconds limit) {
  std::unique_lock lock(mutex_);
  const bool ready =
      wait(lock, limit, [&] { return reading_cancelled_ || writer_ended_ || size_ > 0; });
  if (reading_cancelled_) return {Outcome::kCancelled};
  if (!ready) return {Outcome::kTimeout};
  return {size_ > 0 ? Outcome::kMoved : Outcome::kEnded, size_};
}

MemoryPipe::Moved MemoryPipe::read(MutableBuffer bytes, Nanoseconds timeout) {
  const Moved ready = wait_readable(timeout);
  if (ready.outcome != Outcome::kMoved) return ready;
  const std::lock_guard lock(mutex_);
  const size_t count = std::min(bytes.size(), size_);
  const size_t first = std::min(count, ring_.size() - begin_);
  std::memcpy(bytes.data(), ring_.data() + begin_, first);
  std::memcpy(bytes.data() + first, ring_.data(), count - first);
  begin_ = (begin_ + count) % ring_.size();
  size_ -= count;
  changed_.notify_all();
  return {Outcome::kMoved, count};
}

void MemoryPipe::end_writing() {
  const std::lock_guard lock(mutex_);
  writer_ended_ = true;
  changed_.notify_all();
}

void MemoryPipe::end_reading() {
  const std::lock_guard lock(mutex_);
  reader_ended_ = true;
  changed_.notify_all();
}

void MemoryPipe::cancel_writing() {
  const std::lock_guard lock(mutex_);
  writing_cancelled_ = writer_ended_ = true;
  changed_.notify_all();
}

void MemoryPipe::cancel_reading() {
  const std::lock_guard lock(mutex_);
  reading_cancelled_ = reader_ended_ = true;
  changed_.notify_all();
}

MemoryChannel::MemoryChannel(std::shared_ptr<MemoryPipe> out, std::shared_ptr<MemoryPipe> in,
                             std::string peer)
    : out_(std::move(out)), in_(std::move(in)), peer_(std::move(peer)) {}

MemoryChannel::~MemoryChannel() {
  out_->end_writing();
  in_->end_reading();
}

void MemoryChannel::shutdown() noexcept {
  out_->cancel_writing();
  in_->cancel_reading();
}

Result<> MemoryChannel::send(std::span<const ConstBuffer> buffers) {
  size_t total = 0;
  for (const auto& buffer : buffers) total += buffer.size();
  if (unsent_.size() + total <= kCoalesceBytes) {
    for (const auto& buffer : buffers) unsent_.insert(unsent_.end(), buffer.begin(), buffer.end());
    return {};
  }
  GODWIT_TRY(flush());
  for (const auto& buffer : buffers) GODWIT_TRY(write_all(buffer));
  return {};
}

Result<> MemoryChannel::flush() {
  const std::vector<std::byte> unsent = std::exchange(unsent_, {});
  return write_all(unsent);
}

Result<> MemoryChannel::write_all(ConstBuffer bytes) {
  while (!bytes.empty()) {
    const auto moved = out_->write(bytes, timeout_);
    {
      const std::lock_guard lock(stats_mutex_);
      ++stats_.send_calls;
      stats_.bytes_sent += moved.bytes;
    }
    if (moved.outcome != MemoryPipe::Outcome::kMoved) return error_of(moved.outcome, "sending");
    bytes = bytes.subspan(moved.bytes);
  }
  return {};
}

Result<> MemoryChannel::receive(std::span<const MutableBuffer> buffers) {
  for (auto bytes : buffers) {
    while (!bytes.empty()) {
      const auto moved = in_->read(bytes, timeout_);
      {
        const std::lock_guard lock(stats_mutex_);
        ++stats_.receive_calls;
        stats_.bytes_received += moved.bytes;
      }
      if (moved.outcome != MemoryPipe::Outcome::kMoved) return error_of(moved.outcome, "receiving");
      bytes = bytes.subspan(moved.bytes);
    }
  }
  return {};
}

Result<bool> MemoryChannel::wait_readable(Nanoseconds limit) {
  const auto moved = in_->wait_readable(limit);
  if (moved.outcome == MemoryPipe::Outcome::kCancelled) return error_of(moved.outcome, "waiting");
  return moved.outcome != MemoryPipe::Outcome::kTimeout;
}

Error MemoryChannel::error_of(MemoryPipe::Outcome outcome, std::string_view doing) const {
  switch (outcome) {
    case MemoryPipe::Outcome::kTimeout:
      return make_error(Errc::kTimeout, "connection to {}: no byte moved for {:.1f} s while {}",
                        peer_, to_seconds(timeout_), doing);
    case MemoryPipe::Outcome::kCancelled:
      return make_error(Errc::kCancelled, "connection to {} shut down here while {}", peer_, doing);
    default:
      return make_error(Errc::kIo, "connection to {} closed by the peer while {}", peer_, doing);
  }
}

MemoryPair make_memory_pair(size_t capacity, const std::string& name) {
  auto there = std::make_shared<MemoryPipe>(capacity);
  auto back = std::make_shared<MemoryPipe>(capacity);
  return {std::make_unique<MemoryChannel>(there, back, name + ":b"),
          std::make_unique<MemoryChannel>(back, there, name + ":a")};
}

}  // namespace godwit::support
