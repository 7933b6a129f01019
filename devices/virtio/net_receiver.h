// The way from a network to a guest, of one queue pair (virtio 1.2, 5.1.6.3 and 5.1.6.4).
//
// A frame is read straight into the driver's buffers. How long it is shows only then, so with
// mergeable buffers as many are laid out as the frames of late needed, and a buffer of our own
// behind them takes what is over; that part is copied into further buffers. A frame that the
// driver's buffers do not hold yet waits there, and no other is read meanwhile.
#pragma once
#include <deque>
#include <vector>

#include "devices/net/address_book.h"
#include "devices/net/net_backend.h"
#include "devices/virtio/model.h"

namespace godwit::devices::virtio {

// All on the pair's thread.
class NetReceiver {
 public:
  // Frames for one run(): the thread has other things to do too.
  static constexpr unsigned kBudget = 128;

  NetReceiver(NetBackend& backend, AddressBook& book, size_t pair)
      : backend_(backend), book_(book), pair_(pair) {}

  void start(Transport& transport, uint16_t queue, uint64_t features);
  // Forgets the driver's buffers; the queue is about to stop.
  void stop();
  // Gives back what no frame is in. One that waits for buffers is dropped.
  void give_back();

  enum class Waits {
    kFrames,   // for frames, or for its turn: poll the backend
    kBuffers,  // for the driver, who will ring
    kGone,     // for nothing: the backend is gone
    kBroken,   // for a reset: the transport knows why
  };
  // Moves frames, and tells the driver once of all of them.
  Waits run();

 private:
  enum class Gathered { kEnough, kShort, kBroken };
  Gathered gather(uint64_t bytes);
  NetResult receive();
  void lay_out();
  Gathered finish_waiting();
  void deliver(uint64_t bytes);
  void note(const Chain& chain);
  void mark_laid_out();
  void drop_front();
  void forget();
  Waits out_of_buffers();

  NetBackend& backend_;
  AddressBook& book_;
  size_t pair_;
  Transport* transport_ = nullptr;
  uint16_t queue_ = 0;
  bool mergeable_ = false;
  bool checksums_ = false;  // the driver knows flags

  std::deque<Chain> gathered_;  // popped and not used
  uint64_t capacity_ = 0;       // of gathered_
  std::vector<Chain> spare_;    // for their memory
  std::vector<iovec> pieces_;   // for receive()
  uint64_t laid_out_ = 0;       // bytes of the driver's in pieces_
  uint64_t wanted_ = 0;         // bytes to lay out
  std::string broken_why_;

  // What did not fit in the laid out buffers: the end of a frame of waiting_ bytes.
  std::vector<std::byte> excess_;
  uint64_t waiting_ = 0;  // 0: none
};

}  // namespace godwit::devices::virtio
