// A channel that fails as a script says. Everything happens at byte counts, nothing by time: the
// same script over the same streams fails at the same place.
#pragma once
#include <atomic>
#include <random>

#include "tests/support/memory_channel.h"

namespace godwit::support {

// Directions as the wrapped end sees them.
enum class Direction { kSend, kReceive };

enum class FaultKind {
  kCut,       // the connection ends in both directions; the peer reads what was sent before
  kTruncate,  // this direction ends: a sender's later bytes are lost in silence, a receiver finds
              // the end of the stream; the other direction works on
  kStall,     // this direction moves nothing more: time-out, or shutdown()
  kFlip,      // bit `amount` (0..7) of this byte is inverted
  kYield,     // the thread yields `amount` times before this byte
};

struct Fault {
  FaultKind kind = FaultKind::kCut;
  Direction direction = Direction::kSend;
  uint64_t at_byte = 0;  // bytes that pass in this direction before it happens
  uint32_t amount = 0;
};

struct FaultScript {
  std::vector<Fault> faults;
  // Bytes move in pieces of 1 to `max_piece`, sizes drawn from `seed`, each flushed; 0: as asked.
  size_t max_piece = 0;
  uint32_t seed = 1;
  bool refuse = false;  // the connection is not even made
};

// One fault of any kind in either direction, before byte `limit`, and small pieces half the time.
FaultScript random_script(uint32_t seed, uint64_t limit);
// For failure messages: "cut sending at byte 12, pieces of at most 7 bytes (seed 3)".
std::string describe(const FaultScript& script);

// Bytes that passed at the wrapped end; any thread.
struct Passed {
  std::atomic<uint64_t> sent{0};
  std::atomic<uint64_t> received{0};
};

class FaultyChannel final : public Channel {
 public:
  FaultyChannel(std::unique_ptr<MemoryChannel> inner, FaultScript script,
                std::shared_ptr<Passed> passed = std::make_shared<Passed>());

  using Channel::receive;
  using Channel::send;
  Result<> send(std::span<const ConstBuffer> buffers) override;
  Result<> flush() override;
  Result<> receive(std::span<const MutableBuffer> buffers) override;
  Result<bool> wait_readable(Nanoseconds limit) override;
  void set_timeout(Nanoseconds timeout) override;
  void shutdown() noexcept override;
  [[nodiscard]] bool authenticated() const override { return false; }
  [[nodiscard]] ChannelStats stats() const override { return inner_->stats(); }
  [[nodiscard]] std::string peer() const override { return inner_->peer(); }

 private:
  struct Flow {
    std::vector<Fault> faults;  // of this direction, by position
    size_t next = 0;
    uint64_t position = 0;
    bool stalled = false;
    bool ended = false;
  };
  Flow& flow(Direction direction) { return direction == Direction::kSend ? send_ : receive_; }
  // Applies what is due at the flow's position. Sets the mask of the byte there to the bits to
  // invert.
  Result<> apply_due(Direction direction, uint8_t& flip_mask);
  Result<> stalled(Direction direction);
  Error cut();
  // How many of `wanted` bytes move as one piece from here.
  size_t piece(const Flow& flow, size_t wanted, bool one_byte);
  Result<> send_piece(ConstBuffer bytes, uint8_t flip_mask);

  std::unique_ptr<MemoryChannel> inner_;
  FaultScript script_;
  std::shared_ptr<Passed> passed_;
  std::mt19937 random_;
  Flow send_;
  Flow receive_;
  bool cut_ = false;
  Nanoseconds timeout_ = kDefaultTimeout;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool cancelled_ = false;
};

}  // namespace godwit::support
