#include "devices/virtio/net_receiver.h"

#include <algorithm>
#include <array>

#include "devices/virtio/buffers.h"
#include "devices/virtio/net_spec.h"

namespace godwit::devices::virtio {
namespace {

// What a driver lends at least without segmentation offload (5.1.6.3.1).
constexpr uint64_t kLeastWanted = 1526;
// More than the frame of most bytes needs in buffers of a page, and far from IOV_MAX.
constexpr size_t kMostPieces = 512;

}  // namespace

void NetReceiver::start(Transport& transport, uint16_t queue, uint64_t features) {
  transport_ = &transport;
  queue_ = queue;
  mergeable_ = (features & kNetMrgRxbuf) != 0;
  checksums_ = (features & kNetGuestCsum) != 0;
  wanted_ = mergeable_ ? kLeastWanted : 1;
  if (mergeable_) excess_.resize(kMaxNetFrameBytes);
}

void NetReceiver::stop() {
  forget();
  transport_ = nullptr;
}

void NetReceiver::forget() {
  if (waiting_ != 0) mark_laid_out();
  while (!gathered_.empty()) drop_front();
  capacity_ = 0;
  waiting_ = 0;
}

void NetReceiver::give_back() {
  if (transport_ == nullptr) return;
  for (size_t i = 0; i < gathered_.size(); ++i) transport_->queue(queue_).unpop();
  forget();
}

// What a frame that came to nothing left there is a change of guest memory all the same.
void NetReceiver::mark_laid_out() {
  uint64_t at = 0;
  for (const Chain& chain : gathered_) {
    if (at >= laid_out_) break;
    for (const Buffer& buffer : chain.writable)
      transport_->memory().mark_dirty(buffer.gpa, ByteCount{buffer.bytes.size()});
    at += chain.writable_bytes;
  }
}

void NetReceiver::drop_front() {
  spare_.push_back(std::move(gathered_.front()));
  gathered_.pop_front();
}

NetReceiver::Gathered NetReceiver::gather(uint64_t bytes) {
  Queue& queue = transport_->queue(queue_);
  while (capacity_ < bytes) {
    // Without mergeable buffers a frame has one chain, whatever that holds.
    if (!mergeable_ && !gathered_.empty()) break;
    Chain chain;
    if (!spare_.empty()) {
      chain = std::move(spare_.back());
      spare_.pop_back();
    }
    const Queue::Pop popped = queue.pop(chain);
    if (popped == Queue::Pop::kEmpty) {
      spare_.push_back(std::move(chain));
      return Gathered::kShort;
    }
    if (popped == Queue::Pop::kBroken) {
      broken_why_ = queue.error();
      return Gathered::kBroken;
    }
    // 5.1.6.3.1: a mergeable buffer is longer than the header.
    if (!chain.readable.empty() || chain.writable_bytes == 0 ||
        (mergeable_ && chain.writable_bytes <= kVnetHeaderBytes)) {
      broken_why_ = fmt::format("a receive buffer of {} bytes to write and {} to read",
                                chain.writable_bytes, chain.readable_bytes);
      return Gathered::kBroken;
    }
    capacity_ += chain.writable_bytes;
    gathered_.push_back(std::move(chain));
  }
  return Gathered::kEnough;
}

void NetReceiver::lay_out() {
  pieces_.clear();
  laid_out_ = 0;
  for (const Chain& chain : gathered_) {
    if (!pieces_.empty() && pieces_.size() + chain.writable.size() > kMostPieces) break;
    for (const Buffer& buffer : chain.writable)
      pieces_.push_back({buffer.bytes.data(), buffer.bytes.size()});
    laid_out_ += chain.writable_bytes;
    if (laid_out_ >= wanted_) break;
  }
  if (mergeable_) pieces_.push_back({excess_.data(), excess_.size()});
}

NetResult NetReceiver::receive() {
  lay_out();
  const NetReceived received = backend_.receive(pair_, pieces_);
  if (received.result == NetResult::kDropped) mark_laid_out();
  if (received.result != NetResult::kDone) return received.result;
  if (mergeable_) wanted_ = std::max({received.bytes, wanted_ - wanted_ / 8, kLeastWanted});
  if (received.bytes <= laid_out_) {
    deliver(received.bytes);
  } else {
    waiting_ = received.bytes;
  }
  return NetResult::kDone;
}

// The rest of the frame goes to buffers behind those that hold its beginning.
NetReceiver::Gathered NetReceiver::finish_waiting() {
  const Gathered gathered = gather(waiting_);
  if (gathered == Gathered::kBroken) return gathered;
  if (capacity_ < waiting_) {
    // With all that the queue holds lent to us already, it never will.
    if (gathered_.size() < transport_->queue(queue_).size()) return Gathered::kShort;
    mark_laid_out();
    waiting_ = 0;
    return Gathered::kEnough;
  }
  std::span<const std::byte> rest(excess_.data(), waiting_ - laid_out_);
  uint64_t at = 0;
  for (const Chain& chain : gathered_) {
    if (rest.empty()) break;
    const uint64_t skip =
        laid_out_ > at ? std::min(laid_out_ - at, chain.writable_bytes) : uint64_t{0};
    rest = rest.subspan(copy_in(chain.writable, skip, rest));
    at += chain.writable_bytes;
  }
  deliver(waiting_);
  waiting_ = 0;
  return Gathered::kEnough;
}

// The frame stands in the first of the gathered chains.
void NetReceiver::deliver(uint64_t bytes) {
  Queue& queue = transport_->queue(queue_);
  uint64_t sum = 0;
  uint16_t chains = 0;
  while (sum < bytes) sum += gathered_[chains++].writable_bytes;
  const std::byte count[] = {std::byte(chains & 0xff), std::byte(chains >> 8)};
  const Chain& first = gathered_.front();
  copy_in(first.writable, kNumBuffersOffset, count);
  // 5.1.6.4.1; the kernel tells of good checksums unasked.
  if (!checksums_) copy_in(first.writable, kFlagsOffset, std::array{std::byte{0}});
  note(first);
  for (; chains > 0; --chains) {
    const Chain& chain = gathered_.front();
    const uint64_t part = std::min(bytes, chain.writable_bytes);
    queue.push(chain, static_cast<uint32_t>(part));
    bytes -= part;
    capacity_ -= chain.writable_bytes;
    drop_front();
  }
}

void NetReceiver::note(const Chain& chain) {
  std::array<std::byte, AddressBook::kHeadBytes> head;
  const size_t size = copy_out(chain.writable, kVnetHeaderBytes, head);
  book_.guest_received(std::span(head).first(size));
}

NetReceiver::Waits NetReceiver::out_of_buffers() {
  transport_->flush(queue_);
  return transport_->queue(queue_).enable_notifications() ? Waits::kFrames : Waits::kBuffers;
}

NetReceiver::Waits NetReceiver::run() {
  transport_->queue(queue_).disable_notifications();
  for (unsigned i = 0; i < kBudget; ++i) {
    const Gathered gathered = waiting_ != 0 ? finish_waiting() : gather(wanted_);
    if (gathered == Gathered::kBroken) {
      forget();
      transport_->broken(broken_why_);
      return Waits::kBroken;
    }
    if (waiting_ != 0 || gathered_.empty()) {
      // Something may have come in between.
      if (out_of_buffers() == Waits::kBuffers) return Waits::kBuffers;
      continue;
    }
    const NetResult result = receive();
    if (result != NetResult::kNotNow && result != NetResult::kGone) continue;
    transport_->flush(queue_);
    return result == NetResult::kGone ? Waits::kGone : Waits::kFrames;
  }
  transport_->flush(queue_);
  return Waits::kFrames;
}

}  // namespace godwit::devices::virtio
