// What each vCPU does: writes pages of its slice at its pace, checks them before, sweeps, halts.
#pragma once
#include <stdint.h>

#include "bench/workload/core/pacer.h"
#include "bench/workload/core/page.h"
#include "bench/workload/core/picker.h"
#include "bench/workload/guest/gap.h"
#include "bench/workload/guest/memory.h"
#include "bench/workload/guest/time.h"

namespace godwit::workload {

// What all vCPUs see. The boot vCPU writes it; `failed` takes the first failure of any vCPU.
struct Shared {
  Params params;
  BootInfo boot{};
  MemoryLayout memory;
  ContentSpec content{};
  TscFrequency tsc;
  HaltTimer timer;
  uint32_t cpus = 1;
  uint32_t present[GUEST_MAX_CPUS] = {};  // the vCPU has come up
  uint32_t go = 0;                        // the others may populate
  uint32_t populated = 0;                 // vCPUs that have
  uint32_t run = 0;                       // all may start
  uint32_t writing = 1;                   // 's' toggles
  uint32_t check_generation = 0;          // a new number asks for a full check
  uint32_t failed = 0;                    // 0 no, 1 being described, 2 described
  PageId failed_page{};
  PageVerdict failure;
};
extern Shared shared;

class alignas(128) Worker {
 public:
  // Takes the slice of vCPU `index` and writes its content for the first time.
  void set_up(uint32_t index);
  // Starts the clocks.
  void start();

  // One small piece of work. True: there is more to do at once; false: nothing is due before
  // wake().
  bool step(uint64_t now);
  [[nodiscard]] uint64_t wake(uint64_t now) const;
  void halt_until(uint64_t deadline);

  GapTracker gap;
  [[nodiscard]] uint64_t written() const { return __atomic_load_n(&written_, __ATOMIC_RELAXED); }
  [[nodiscard]] uint64_t checked() const { return __atomic_load_n(&checked_, __ATOMIC_RELAXED); }
  // The generation of the last full check that this vCPU has finished.
  [[nodiscard]] uint32_t check_done() const {
    return __atomic_load_n(&check_done_, __ATOMIC_ACQUIRE);
  }

 private:
  struct Page {
    uint64_t* data;
    PageId id;
  };
  [[nodiscard]] uint64_t slice_pages() const { return ws_count_ + fill_count_; }
  [[nodiscard]] Page slice_page(uint64_t index) const;
  void verify(const Page& page);
  void write_next();
  bool full_check_step();
  bool write_step(uint64_t now);
  bool sweep_step(uint64_t now);

  uint32_t index_ = 0;
  uint64_t ws_first_ = 0;
  uint64_t ws_count_ = 0;
  uint64_t fill_first_ = 0;
  uint64_t fill_count_ = 0;
  PagePicker picker_;
  Pacer pacer_;
  Pacer sweeper_;
  bool paced_ = false;
  bool unlimited_ = false;
  bool was_writing_ = true;
  uint64_t sweep_cursor_ = 0;
  uint32_t check_running_ = 0;
  uint64_t check_cursor_ = 0;
  uint64_t written_ = 0;
  uint64_t checked_ = 0;
  uint32_t check_done_ = 0;
};
extern Worker workers[GUEST_MAX_CPUS];

}  // namespace godwit::workload
