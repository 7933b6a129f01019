#include "devices/virtio/rng.h"

#include <sys/random.h>

#include <algorithm>

#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {
namespace {

// Returns how many bytes it filled: the pool of the host is ready long before there are guests.
uint32_t fill(const Chain& chain) {
  uint32_t total = 0;
  for (const Buffer& buffer : chain.writable) {
    const size_t wanted = std::min<size_t>(buffer.bytes.size(), Rng::kMostBytes - total);
    size_t done = 0;
    while (done < wanted) {
      const ssize_t n = ::getrandom(buffer.bytes.data() + done, wanted - done, 0);
      if (n <= 0) return total + static_cast<uint32_t>(done);
      done += static_cast<size_t>(n);
    }
    total += static_cast<uint32_t>(done);
    if (total == Rng::kMostBytes) break;
  }
  return total;
}

}  // namespace

uint16_t Rng::device_id() const {
  return kEntropy;
}

void Rng::read_config(uint32_t, std::span<std::byte> data) const {
  std::fill(data.begin(), data.end(), std::byte{0});
}

void Rng::start(Transport& transport, uint64_t, unsigned) {
  transport_ = &transport;
}

void Rng::stop(unsigned) {
  transport_ = nullptr;
}

void Rng::notified(uint16_t index) {
  if (transport_ == nullptr) return;
  Queue& queue = transport_->queue(index);
  do {
    queue.disable_notifications();
    // A driver that adds as fast as it is served has the thread to itself: it is its own device's.
    for (;;) {
      const Queue::Pop popped = queue.pop(chain_);
      if (popped == Queue::Pop::kBroken) return transport_->broken(queue.error());
      if (popped == Queue::Pop::kEmpty) break;
      queue.push(chain_, fill(chain_));
    }
    transport_->flush(index);
  } while (queue.enable_notifications());
}

}  // namespace godwit::devices::virtio
