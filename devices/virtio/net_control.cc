// The control queue of a network device (virtio 1.2, 5.1.6.5).
#include <spdlog/spdlog.h>

#include <array>

#include "devices/virtio/buffers.h"
#include "devices/virtio/net.h"
#include "devices/virtio/net_spec.h"

namespace godwit::devices::virtio {
namespace {

// Class, command and the longest data that one of ours has.
constexpr size_t kHeadBytes = 2;
constexpr size_t kMostCommandBytes = kHeadBytes + 8;

uint64_t little_endian(std::span<const std::byte> data) {
  uint64_t value = 0;
  for (size_t i = 0; i < data.size(); ++i) value |= std::to_integer<uint64_t>(data[i]) << (8 * i);
  return value;
}

}  // namespace

void Net::run_commands(uint16_t index) {
  Queue& queue = transport_->queue(index);
  do {
    queue.disable_notifications();
    for (;;) {
      const Queue::Pop popped = queue.pop(chain_);
      if (popped == Queue::Pop::kBroken) return transport_->broken(queue.error());
      if (popped == Queue::Pop::kEmpty) break;
      if (chain_.readable_bytes < kHeadBytes || chain_.writable_bytes == 0)
        return transport_->broken("a control command without a head or room for the answer");
      // One byte more than any: too long is seen as that.
      std::array<std::byte, kMostCommandBytes + 1> command;
      const size_t size = copy_out(chain_.readable, 0, command);
      const auto answer = std::byte{execute(std::span(command).first(size))};
      copy_in(chain_.writable, 0, std::span(&answer, 1));
      queue.push(chain_, 1);
    }
    transport_->flush(index);
  } while (queue.enable_notifications());
}

// `command` holds at least its head.
uint8_t Net::execute(std::span<const std::byte> command) {
  const auto of_class = std::to_integer<uint8_t>(command[0]);
  const auto what = std::to_integer<uint8_t>(command[1]);
  const auto data = command.subspan(kHeadBytes);
  const auto is = [&](uint64_t feature, uint8_t class_id, uint8_t command_id, size_t bytes) {
    return (features_ & feature) != 0 && of_class == class_id && what == command_id &&
           data.size() == bytes;
  };
  if (is(kNetCtrlMacAddr, kNetMacClass, kNetMacSet, 6)) return set_mac(data);
  if (is(kNetMq, kNetMqClass, kNetMqPairsSet, 2))
    return set_active_pairs(static_cast<uint16_t>(little_endian(data)));
  if (is(kNetCtrlGuestOffloads, kNetOffloadsClass, kNetOffloadsSet, 8))
    return set_guest_offloads(little_endian(data));
  if (is(kNetGuestAnnounce, kNetAnnounceClass, kNetAnnounceAck, 0)) {
    const std::lock_guard lock(mutex_);
    control_.announce = false;
    return kNetOk;
  }
  return kNetError;
}

uint8_t Net::set_mac(std::span<const std::byte> data) {
  MacAddress mac;
  for (size_t i = 0; i < mac.bytes.size(); ++i) mac.bytes[i] = std::to_integer<uint8_t>(data[i]);
  if (!mac.is_unicast()) return kNetError;
  const std::lock_guard lock(mutex_);
  control_.mac = mac;
  book_.set_mac(mac);
  return kNetOk;
}

// Frames come in a queue only while its thread polls it, and it is polled only while they may come.
uint8_t Net::set_active_pairs(uint16_t pairs) {
  if (pairs == 0 || pairs > pairs_.size()) return kNetError;
  const uint16_t before = control().active_pairs;
  for (uint16_t i = pairs; i < before; ++i) activate(i, false);
  if (const auto done = backend_->set_active_pairs(pairs); !done) {
    spdlog::warn("network interface {}: {}", config_.id, done.error().message);
    for (uint16_t i = pairs; i < before; ++i) activate(i, true);
    return kNetError;
  }
  for (uint16_t i = before; i < pairs; ++i) activate(i, true);
  const std::lock_guard lock(mutex_);
  control_.active_pairs = pairs;
  return kNetOk;
}

// Waits for the pair's thread, which waits for nobody.
void Net::activate(uint16_t pair, bool active) {
  transport_->thread(pair).run([&] { pairs_[pair]->set_active(active); });
}

uint8_t Net::set_guest_offloads(uint64_t offloads) {
  if ((offloads & ~(features_ & kNetGuestOffloads)) != 0) return kNetError;
  {
    const std::lock_guard lock(mutex_);
    control_.guest_offloads = offloads;
  }
  apply_offloads();
  return kNetOk;
}

}  // namespace godwit::devices::virtio
