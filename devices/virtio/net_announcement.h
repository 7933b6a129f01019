// The rounds in which a network is told where a guest is now (devices/net/announcer.h), by a timer
// on a device's thread.
#pragma once
#include <functional>

#include "devices/io_thread/io_thread.h"
#include "devices/net/announcer.h"
#include "vmm/base/fd.h"

namespace godwit::devices::virtio {

// All on the thread.
class NetAnnouncement {
 public:
  // Throws std::system_error when the host gives no timer.
  NetAnnouncement();
  // The first round is due now, rounds of an earlier call are not any more.
  void start() { timer_.start(now()); }
  // Sends nothing more.
  void stop(IoThread& thread);
  // Between these two rounds are sent when they are due, by `send`; the rest is kept for the next
  // run().
  void run(IoThread& thread, std::function<void()> send);
  void pause(IoThread& thread);

 private:
  void arm();
  UniqueFd alarm_;
  AnnounceTimer timer_;
  std::function<void()> send_;
};

}  // namespace godwit::devices::virtio
