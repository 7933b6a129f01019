#include "devices/virtio/net_sender.h"

#include <array>

#include "devices/virtio/buffers.h"

namespace godwit::devices::virtio {

void NetSender::start(Transport& transport, uint16_t queue) {
  transport_ = &transport;
  queue_ = queue;
}

// False: not now.
bool NetSender::send() {
  pieces_.clear();
  for (const Buffer& buffer : chain_.readable)
    pieces_.push_back({buffer.bytes.data(), buffer.bytes.size()});
  switch (backend_.send(pair_, pieces_)) {
    case NetResult::kNotNow:
      return false;
    case NetResult::kDone: {
      std::array<std::byte, AddressBook::kHeadBytes> head;
      const size_t size = copy_out(chain_.readable, kVnetHeaderBytes, head);
      book_.guest_sent(std::span(head).first(size));
      return true;
    }
    case NetResult::kDropped:
    case NetResult::kGone:  // as a card whose cable is out
      return true;
  }
  return true;
}

NetSender::Waits NetSender::run() {
  Queue& queue = transport_->queue(queue_);
  queue.disable_notifications();
  for (unsigned i = 0; i < kBudget; ++i) {
    const Queue::Pop popped = queue.pop(chain_);
    if (popped == Queue::Pop::kBroken) {
      transport_->broken(queue.error());
      return Waits::kBroken;
    }
    if (popped == Queue::Pop::kEmpty) {
      transport_->flush(queue_);
      // Something may have come in between.
      if (!queue.enable_notifications()) return Waits::kFrames;
      continue;
    }
    if (!send()) {
      queue.unpop();
      transport_->flush(queue_);
      return Waits::kBackend;
    }
    queue.push(chain_, 0);
  }
  transport_->flush(queue_);
  return Waits::kTurn;
}

}  // namespace godwit::devices::virtio
