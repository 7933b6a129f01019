#include "tests/support/faulty_channel.h"

#include <algorithm>
#include <thread>

namespace godwit::support {
namespace {

std::string_view kind_name(FaultKind kind) {
  switch (kind) {
    case FaultKind::kCut:
      return "cut";
    case FaultKind::kTruncate:
      return "truncate";
    case FaultKind::kStall:
      return "stall";
    case FaultKind::kFlip:
      return "flip";
    case FaultKind::kYield:
      return "yield";
  }
  return "?";
}

std::string_view direction_name(Direction direction) {
  return direction == Direction::kSend ? "sending" : "receiving";
}

}  // namespace

FaultScript random_script(uint32_t seed, uint64_t limit) {
  std::mt19937_64 random(seed);
  const auto draw = [&random](uint64_t n) { return random() % n; };
  FaultScript script{.seed = seed};
  script.faults.push_back({.kind = static_cast<FaultKind>(draw(5)),
                           .direction = static_cast<Direction>(draw(2)),
                           .at_byte = draw(std::max<uint64_t>(limit, 1)),
                           .amount = static_cast<uint32_t>(draw(8))});
  if (draw(2) == 1) script.max_piece = size_t{1} << draw(13);
  return script;
}

std::string describe(const FaultScript& script) {
  std::string text = script.refuse ? "refused; " : "";
  for (const auto& fault : script.faults) {
    text += fmt::format("{} {} at byte {} (amount {}); ", kind_name(fault.kind),
                        direction_name(fault.direction), fault.at_byte, fault.amount);
  }
  return text + fmt::format("pieces of at most {} bytes (seed {})", script.max_piece, script.seed);
}

FaultyChannel::FaultyChannel(std::unique_ptr<MemoryChannel> inner, FaultScript script,
                             std::shared_ptr<Passed> passed)
    : inner_(std::move(inner)),
      script_(std::move(script)),
      passed_(std::move(passed)),
      random_(script_.seed) {
  for (const auto& fault : script_.faults) flow(fault.direction).faults.push_back(fault);
  for (auto* each : {&send_, &receive_}) {
    std::stable_sort(each->faults.begin(), each->faults.end(),
                     [](const Fault& a, const Fault& b) { return a.at_byte < b.at_byte; });
  }
}

Result<> FaultyChannel::apply_due(Direction direction, uint8_t& flip_mask) {
  Flow& here = flow(direction);
  flip_mask = 0;
  while (here.next < here.faults.size() && here.faults[here.next].at_byte == here.position) {
    const Fault& fault = here.faults[here.next++];
    switch (fault.kind) {
      case FaultKind::kCut:
        cut_ = true;
        break;
      case FaultKind::kTruncate:
        here.ended = true;
        if (direction == Direction::kSend) {
          GODWIT_TRY(inner_->flush());
          inner_->finish_sending();
        }
        break;
      case FaultKind::kStall:
        here.stalled = true;
        break;
      case FaultKind::kFlip:
        flip_mask ^= static_cast<uint8_t>(1U << (fault.amount % 8));
        break;
      case FaultKind::kYield:
        for (uint32_t i = 0; i < fault.amount; ++i) std::this_thread::yield();
        break;
    }
  }
  if (cut_) return cut();
  if (here.stalled) return stalled(direction);
  return {};
}

Error FaultyChannel::cut() {
  // Exactly the bytes before the cut reach the peer.
  static_cast<void>(inner_->flush());
  inner_->shutdown();
  const std::lock_guard lock(mutex_);
  if (cancelled_) return make_error(Errc::kCancelled, "connection to {} shut down here", peer());
  return make_error(Errc::kIo, "connection to {} closed by the peer (cut by the script)", peer());
}

Result<> FaultyChannel::stalled(Direction direction) {
  if (direction == Direction::kSend) GODWIT_TRY(inner_->flush());
  std::unique_lock lock(mutex_);
  if (wake_.wait_for(lock, timeout_, [this] { return cancelled_; })) {
    return make_error(Errc::kCancelled, "connection to {} shut down here", peer());
  }
  return make_error(Errc::kTimeout, "connection to {}: no byte moved for {:.1f} s while {}", peer(),
                    to_seconds(timeout_), direction_name(direction));
}

size_t FaultyChannel::piece(const Flow& flow, size_t wanted, bool one_byte) {
  if (one_byte) return 1;
  size_t count = wanted;
  if (script_.max_piece > 0) {
    count = std::min<size_t>(count, 1 + random_() % script_.max_piece);
  }
  if (flow.next < flow.faults.size()) {
    count = std::min<uint64_t>(count, flow.faults[flow.next].at_byte - flow.position);
  }
  return count;
}

Result<> FaultyChannel::send_piece(ConstBuffer bytes, uint8_t flip_mask) {
  if (send_.ended) return {};
  if (flip_mask == 0) {
    GODWIT_TRY(inner_->send(bytes));
  } else {
    const std::byte flipped = bytes.front() ^ std::byte{flip_mask};
    GODWIT_TRY(inner_->send(ConstBuffer(&flipped, 1)));
  }
  return script_.max_piece > 0 ? inner_->flush() : Result<>();
}

Result<> FaultyChannel::send(std::span<const ConstBuffer> buffers) {
  for (auto bytes : buffers) {
    while (!bytes.empty()) {
      uint8_t flip_mask = 0;
      GODWIT_TRY(apply_due(Direction::kSend, flip_mask));
      const size_t count = piece(send_, bytes.size(), flip_mask != 0);
      GODWIT_TRY(send_piece(bytes.first(count), flip_mask));
      send_.position += count;
      passed_->sent = send_.position;
      bytes = bytes.subspan(count);
    }
  }
  return {};
}

Result<> FaultyChannel::flush() {
  if (cut_) return cut();
  if (send_.stalled) return stalled(Direction::kSend);
  return send_.ended ? Result<>() : inner_->flush();
}

Result<> FaultyChannel::receive(std::span<const MutableBuffer> buffers) {
  for (auto bytes : buffers) {
    while (!bytes.empty()) {
      uint8_t flip_mask = 0;
      GODWIT_TRY(apply_due(Direction::kReceive, flip_mask));
      if (receive_.ended) {
        return make_error(Errc::kIo, "connection to {} closed by the peer while receiving", peer());
      }
      const size_t count = piece(receive_, bytes.size(), flip_mask != 0);
      GODWIT_TRY(inner_->receive(bytes.first(count)));
      bytes.front() ^= std::byte{flip_mask};
      receive_.position += count;
      passed_->received = receive_.position;
      bytes = bytes.subspan(count);
    }
  }
  return {};
}

Result<bool> FaultyChannel::wait_readable(Nanoseconds limit) {
  if (cut_) return cut();
  if (receive_.ended) return true;
  if (!receive_.stalled) return inner_->wait_readable(limit);
  std::unique_lock lock(mutex_);
  if (wake_.wait_for(lock, std::min<Nanoseconds>(limit, std::chrono::hours(24)),
                     [this] { return cancelled_; })) {
    return make_error(Errc::kCancelled, "connection to {} shut down here", peer());
  }
  return false;
}

void FaultyChannel::set_timeout(Nanoseconds timeout) {
  timeout_ = timeout;
  inner_->set_timeout(timeout);
}

void FaultyChannel::shutdown() noexcept {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  wake_.notify_all();
  inner_->shutdown();
}

}  // namespace godwit::support
