// Two channels joined in memory: the engine's tests need no socket.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "migration/channel.h"

namespace godwit::support {

using migration::Channel;
using migration::ChannelStats;
using migration::ConstBuffer;
using migration::MutableBuffer;

inline constexpr size_t kDefaultPipeBytes = 256 << 10;
inline constexpr Nanoseconds kDefaultTimeout = std::chrono::seconds(10);

// One direction: a bounded queue of bytes between one writer and one reader.
class MemoryPipe {
 public:
  explicit MemoryPipe(size_t capacity) : ring_(capacity) {}

  enum class Outcome { kMoved, kEnded, kTimeout, kCancelled };
  struct Moved {
    Outcome outcome = Outcome::kMoved;
    size_t bytes = 0;  // at least 1 when kMoved
  };
  // Both wait until at least one byte moves. kEnded: the other end is gone (for a reader: and
  // nothing is left to read).
  Moved write(ConstBuffer bytes, Nanoseconds timeout);
  Moved read(MutableBuffer bytes, Nanoseconds timeout);
  Moved wait_readable(Nanoseconds limit);

  void end_writing();  // the reader gets what is queued, then kEnded
  void end_reading();  // the writer gets kEnded
  void cancel_writing();
  void cancel_reading();

 private:
  template <class Ready>
  bool wait(std::unique_lock<std::mutex>& lock, Nanoseconds limit, Ready ready);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::byte> ring_;
  size_t begin_ = 0;
  size_t size_ = 0;
  bool writer_ended_ = false;
  bool reader_ended_ = false;
  bool writing_cancelled_ = false;
  bool reading_cancelled_ = false;
};

// Behaves as the socket channel does: small sends are kept back until flush(), so a forgotten
// flush shows; blocks when the pipe is full; a destroyed or shut down end is "closed by the peer"
// at the other once that has read what was sent.
class MemoryChannel final : public Channel {
 public:
  static constexpr size_t kCoalesceBytes = 64 << 10;

  MemoryChannel(std::shared_ptr<MemoryPipe> out, std::shared_ptr<MemoryPipe> in, std::string peer);
  ~MemoryChannel() override;

  using Channel::receive;
  using Channel::send;
  Result<> send(std::span<const ConstBuffer> buffers) override;
  Result<> flush() override;
  Result<> receive(std::span<const MutableBuffer> buffers) override;
  Result<bool> wait_readable(Nanoseconds limit) override;
  void set_timeout(Nanoseconds timeout) override { timeout_ = timeout; }
  void shutdown() noexcept override;
  [[nodiscard]] bool authenticated() const override { return false; }
  [[nodiscard]] ChannelStats stats() const override {
    const std::lock_guard lock(stats_mutex_);
    return stats_;
  }
  [[nodiscard]] std::string peer() const override { return peer_; }

  // Ends the stream to the peer; receiving goes on.
  void finish_sending() { out_->end_writing(); }

 private:
  Result<> write_all(ConstBuffer bytes);
  [[nodiscard]] Error error_of(MemoryPipe::Outcome outcome, std::string_view doing) const;

  std::shared_ptr<MemoryPipe> out_;
  std::shared_ptr<MemoryPipe> in_;
  std::string peer_;
  Nanoseconds timeout_ = kDefaultTimeout;
  std::vector<std::byte> unsent_;
  mutable std::mutex stats_mutex_;  // stats() may come from another thread
  ChannelStats stats_;
};

using MemoryPair = std::pair<std::unique_ptr<MemoryChannel>, std::unique_ptr<MemoryChannel>>;
// `capacity` bytes fit in each direction.
MemoryPair make_memory_pair(size_t capacity = kDefaultPipeBytes,
                            const std::string& name = "memory");

}  // namespace godwit::support
