#include "devices/virtio/vsock/vsock.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {
namespace {

using vsock::kHeaderBytes;

// 5.10.2.
constexpr uint16_t kReceiveQueue = 0;
constexpr uint16_t kTransmitQueue = 1;
constexpr uint16_t kEventQueue = 2;
constexpr uint64_t kStreamFeature = feature(0);  // 5.10.3
constexpr uint32_t kTransportReset = 0;          // 5.10.6.7
constexpr uint32_t kEventBytes = 4;
constexpr uint32_t kFirstCid = 3;  // 0 to 2 and the highest are spoken for (5.10.4)
constexpr uint32_t kLastCid = 0xfffffffe;
// Of one direction, before the other gets its turn.
constexpr int kPacketsInARound = 64;

Error wrong(std::string_view text, std::string_view why) {
  return make_error(Errc::kInvalidArgument,
                    "--vsock '{}': {}; write cid=N,path=SOCKET with N from 3 to 4294967294", text,
                    why);
}

}  // namespace

Result<VsockConfig> parse_vsock(std::string_view text) {
  VsockConfig config;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    const size_t equals = one.find('=');
    if (equals == std::string_view::npos)
      return wrong(text, fmt::format("'{}' is no KEY=VALUE", one));
    const std::string_view key = one.substr(0, equals), value = one.substr(equals + 1);
    if (key == "path" && config.path.empty()) {
      config.path = value;
    } else if (key == "cid" && config.cid == 0) {
      const auto [end, problem] =
          std::from_chars(value.data(), value.data() + value.size(), config.cid);
      if (problem != std::errc() || end != value.data() + value.size() || config.cid < kFirstCid ||
          config.cid > kLastCid)
        return wrong(text, fmt::format("'{}' is no CID for a guest", value));
    } else {
      return wrong(text, fmt::format("'{}' is not known or given twice", key));
    }
  }
  if (config.cid == 0) return wrong(text, "the CID is missing");
  if (config.path.empty() || config.path.find('\0') != std::string::npos)
    return wrong(text, "the path is missing");
  return config;
}

Result<std::unique_ptr<Vsock>> Vsock::open(const VsockConfig& config) {
  GODWIT_ASSIGN(auto streams, vsock::Streams::open(config.cid, config.path));
  return std::unique_ptr<Vsock>(new Vsock(config.cid, std::move(streams)));
}

Vsock::Vsock(uint32_t cid, vsock::Streams streams)
    : cid_(cid), again_(make_eventfd()), streams_(std::move(streams)) {}

uint16_t Vsock::device_id() const {
  return kVsock;
}

std::string Vsock::traits() const {
  return fmt::format("cid={}", cid_);
}

uint64_t Vsock::features() const {
  return kStreamFeature;
}

// 5.10.4: le64 guest_cid.
void Vsock::read_config(uint32_t offset, std::span<std::byte> data) const {
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t at = uint64_t{offset} + i;
    data[i] = static_cast<std::byte>(at < 4 ? cid_ >> (8 * at) : 0);
  }
}

void Vsock::start(Transport& transport, uint64_t, unsigned) {
  transport_ = &transport;
  broken_ = false;
  reset_owed_ = false;
}

void Vsock::stop(unsigned thread) {
  unwatch(thread);
  transport_ = nullptr;
  reset_owed_ = false;
  streams_.close_all();
}

void Vsock::quiesce(unsigned thread) {
  resumed_ = false;
  unwatch(thread);
}

void Vsock::unwatch(unsigned thread) {
  if (transport_ == nullptr) return;
  transport_->thread(thread).unwatch(streams_.events_fd());
  transport_->thread(thread).unwatch(again_.get());
}

void Vsock::resume(unsigned thread) {
  resumed_ = true;
  if (transport_ == nullptr) return;
  transport_->thread(thread).watch(streams_.events_fd(), [this] {
    streams_.serve_host();
    serve();
  });
  transport_->thread(thread).watch(again_.get(), [this] {
    drain_eventfd(again_.get());
    serve();
  });
  serve();
}

void Vsock::notified(uint16_t) {
  serve();
}

void Vsock::broken(std::string_view why) {
  broken_ = true;
  transport_->broken(why);
}

void Vsock::serve() {
  if (transport_ == nullptr || !resumed_ || broken_) return;
  // First: what the guest hears of new streams must not come before the end of the old ones.
  serve_event();
  bool more = !broken_ && serve_transmit();
  more = (!broken_ && serve_receive()) || more;
  // Replies that nobody fetched may have been in the way.
  if (!broken_ && streams_.has_room())
    more = transport_->queue(kTransmitQueue).waiting() != 0 || more;
  if (more && !broken_) ring_eventfd(again_.get());
}

void Vsock::serve_event() {
  Queue& queue = transport_->queue(kEventQueue);
  if (!reset_owed_ || !queue.started()) return;
  Queue::Pop popped = queue.pop(chain_);
  if (popped == Queue::Pop::kEmpty && queue.enable_notifications()) popped = queue.pop(chain_);
  if (popped == Queue::Pop::kEmpty) return;
  if (popped == Queue::Pop::kBroken) return broken(queue.error());
  if (chain_.writable_bytes < kEventBytes) return broken("a buffer without room for an event");
  static_assert(kTransportReset == 0);
  uint32_t left = kEventBytes;
  for (const Buffer& buffer : chain_.writable) {
    const size_t n = std::min<size_t>(left, buffer.bytes.size());
    std::fill_n(buffer.bytes.begin(), n, std::byte{0});
    left -= static_cast<uint32_t>(n);
  }
  queue.push(chain_, kEventBytes);
  transport_->flush(kEventQueue);
  reset_owed_ = false;
}

// A packet of the guest in chain_; false when it breaks the rules.
bool Vsock::take_packet() {
  if (chain_.readable_bytes < kHeaderBytes) {
    broken(fmt::format("a packet of {} bytes", chain_.readable_bytes));
    return false;
  }
  const vsock::Packet packet = vsock::read_packet(chain_);
  if (packet.length > chain_.readable_bytes - kHeaderBytes || packet.length > kMostPacket) {
    broken(fmt::format("a packet of {} bytes that says it carries {}", chain_.readable_bytes,
                       packet.length));
    return false;
  }
  streams_.receive(packet, chain_);
  return true;
}

bool Vsock::serve_transmit() {
  Queue& queue = transport_->queue(kTransmitQueue);
  if (!queue.started()) return false;
  bool more = true;
  queue.disable_notifications();
  for (int i = 0; i < kPacketsInARound && more; ++i) {
    if (!streams_.has_room()) break;  // goes on when the guest has taken replies
    const Queue::Pop popped = queue.pop(chain_);
    if (popped == Queue::Pop::kBroken) {
      broken(queue.error());
      return false;
    }
    if (popped == Queue::Pop::kEmpty) {
      more = queue.enable_notifications();
      continue;
    }
    if (!take_packet()) return false;
    queue.push(chain_, 0);
  }
  transport_->flush(kTransmitQueue);
  return more && streams_.has_room();
}

bool Vsock::serve_receive() {
  Queue& queue = transport_->queue(kReceiveQueue);
  if (!queue.started()) return false;
  bool more = streams_.wants_to_send();
  for (int i = 0; i < kPacketsInARound && more; ++i) {
    queue.disable_notifications();
    const Queue::Pop popped = queue.pop(chain_);
    if (popped == Queue::Pop::kBroken) {
      broken(queue.error());
      return false;
    }
    if (popped == Queue::Pop::kEmpty) {
      more = queue.enable_notifications();
      continue;
    }
    if (chain_.writable_bytes <= kHeaderBytes) {
      broken(fmt::format("a buffer of {} bytes for packets", chain_.writable_bytes));
      return false;
    }
    const uint32_t written = streams_.fill(chain_);
    if (written == 0) {
      queue.unpop();
    } else {
      queue.push(chain_, written);
    }
    more = streams_.wants_to_send();
  }
  transport_->flush(kReceiveQueue);
  return more;
}

}  // namespace godwit::devices::virtio
