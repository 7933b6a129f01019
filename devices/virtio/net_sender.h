// The way from a guest to a network, of one queue pair (virtio 1.2, 5.1.6.2): frames are written
// straight from the driver's buffers. What is no frame is dropped, as a network would; the backend
// counts it.
#pragma once
#include <sys/uio.h>

#include <vector>

#include "devices/net/address_book.h"
#include "devices/net/net_backend.h"
#include "devices/virtio/model.h"

namespace godwit::devices::virtio {

// All on the pair's thread.
class NetSender {
 public:
  // Frames for one run(): the thread has other things to do too.
  static constexpr unsigned kBudget = 128;

  NetSender(NetBackend& backend, AddressBook& book, size_t pair)
      : backend_(backend), book_(book), pair_(pair) {}

  void start(Transport& transport, uint16_t queue);
  void stop() { transport_ = nullptr; }

  enum class Waits {
    kFrames,   // for the driver, who will ring
    kTurn,     // for its turn: there is more
    kBackend,  // until the backend is writable
    kBroken,   // for a reset: the transport knows why
  };
  // Sends frames, and tells the driver once of all of them.
  Waits run();

 private:
  bool send();

  NetBackend& backend_;
  AddressBook& book_;
  size_t pair_;
  Transport* transport_ = nullptr;
  uint16_t queue_ = 0;
  Chain chain_;
  std::vector<iovec> pieces_;
};

}  // namespace godwit::devices::virtio
