// One queue pair of a network device on its thread: what it waits for, and whose turn it is.
#pragma once
#include <atomic>
#include <functional>

#include "devices/virtio/net_receiver.h"
#include "devices/virtio/net_sender.h"
#include "vmm/base/fd.h"

namespace godwit::devices::virtio {

// All on the pair's thread, except wake_ups().
class NetPair {
 public:
  // Throws std::system_error when the host gives no descriptors. `on_gone`: the backend's interface
  // is gone.
  NetPair(NetBackend& backend, AddressBook& book, uint16_t index, std::function<void()> on_gone);

  // Life: as Model's. Queues 2 * index and the next one are this pair's.
  void start(Transport& transport, uint64_t features);
  void stop();
  void quiesce();
  void resume();
  // Frames for the guest come here. The first pair's always do.
  void set_active(bool active);

  // The driver has added buffers, or frames.
  void rung(bool transmit);

  // How often frames, room for frames or a turn woke the pair.
  [[nodiscard]] uint64_t wake_ups() const { return wake_ups_.load(std::memory_order_relaxed); }

 private:
  void receive();
  void send();
  void poll_receive(bool on);
  void poll_send(bool on);
  void stop_polling();
  void woken() { wake_ups_.fetch_add(1, std::memory_order_relaxed); }

  NetBackend& backend_;
  const uint16_t index_;
  std::function<void()> on_gone_;
  NetReceiver receiver_;
  NetSender sender_;
  UniqueFd turn_;  // rung by the sender for itself
  UniqueFd
      writable_;  // an epoll that turns "writable" into "readable", all that a thread looks for
  IoThread* thread_ = nullptr;  // between start() and stop()
  bool running_ = false;
  bool active_;
  bool gone_ = false;
  bool polls_receive_ = false;
  bool polls_send_ = false;
  std::atomic<uint64_t> wake_ups_{0};
};

}  // namespace godwit::devices::virtio
