// COM1, polled. Only the boot vCPU uses it (and a vCPU that dies).
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "bench/workload/guest/line.h"

namespace godwit::workload {

class Serial {
 public:
  void set_up();

  // Queues the line and a line feed; a line that has no room is dropped and counted.
  void queue(const Line& line);
  // At most one port access towards emptying the queue (an access may cost 30 us). False if there
  // was nothing to do.
  bool pump();
  [[nodiscard]] bool pending() const { return head_ != tail_; }
  [[nodiscard]] uint64_t dropped() const { return dropped_; }

  // Sends everything now; gives up on a port that takes nothing for some 100,000 reads.
  void flush();
  void print(const Line& line) {
    queue(line);
    flush();
  }

  // The byte that has come in, or -1. One or two port accesses.
  int poll();

 private:
  static constexpr size_t kQueue = 4096;
  char queue_[kQueue] = {};
  size_t head_ = 0;  // free-running
  size_t tail_ = 0;
  unsigned fifo_depth_ = 1;
  unsigned room_ = 0;  // bytes that the transmitter takes without being asked
  uint64_t dropped_ = 0;
};

}  // namespace godwit::workload
