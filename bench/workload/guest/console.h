// The boot vCPU's talk with the host: reports, commands, full checks, the end. README.md describes
// the lines.
#pragma once
#include <stdint.h>

#include "bench/workload/guest/serial.h"
#include "bench/workload/guest/worker.h"

namespace godwit::workload {

// Prints "error=..." with what was wrong and ends the machine.
[[noreturn]] void die(const char* what, const char* detail = nullptr, size_t detail_length = 0);

void print_start_line();
void print_ready_line(uint64_t populate_ticks);

class Console {
 public:
  void start(uint64_t now);
  // Called all the time; at most one or two serial accesses. True: call again at once.
  bool step(uint64_t now);

 private:
  void command(int byte, uint64_t now);
  void report(uint64_t now);
  void update_window(uint64_t now);
  void begin_check(uint64_t now, bool final);
  void watch_check(uint64_t now);
  void reset_gap();
  [[noreturn]] void end_failed();
  [[noreturn]] void end_stuck(uint32_t cpu);
  [[noreturn]] void end_ok(uint64_t now);
  [[nodiscard]] uint64_t ms(uint64_t ticks) const { return ticks / shared.tsc.khz; }

  uint64_t start_ = 0;
  uint64_t next_poll_ = 0;
  uint64_t next_report_ = 0;
  uint64_t next_check_ = 0;
  uint64_t reports_ = 0;
  // The interval since the last report, and its windows of 100 ms.
  uint64_t interval_start_ = 0;
  uint64_t interval_written_ = 0;
  uint64_t window_start_ = 0;
  uint64_t window_written_ = 0;
  uint64_t rate_min_ = 0;
  bool have_window_ = false;
  // The full check that is under way.
  bool checking_ = false;
  bool final_ = false;
  uint64_t check_start_ = 0;
  uint64_t check_pages_ = 0;
  uint64_t progress_time_ = 0;
  uint64_t progress_checked_ = 0;
  uint32_t progress_cpu_ = 0;
};

extern Serial serial;

}  // namespace godwit::workload
