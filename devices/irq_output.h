// A device's end of an interrupt line: tells the line only what is new, because each call costs one
// into the kernel.
#pragma once
#include "vmm/io/io_handler.h"

namespace godwit::devices {

// Threads: guarded by the device's lock.
class IrqOutput {
 public:
  explicit IrqOutput(vmm::IrqLine& line) : line_(line) {}
  void set(bool level) {
    if (level == level_) return;
    level_ = level;
    line_.set(level);
  }
  // After the device's state was loaded: the interrupt controller's side of the line came with its
  // own state, but nobody has told the line itself yet.
  void set_after_load(bool level) {
    if (level || level_) line_.set(level);
    level_ = level;
  }

 private:
  vmm::IrqLine& line_;
  bool level_ = false;  // what the line was told last
};

}  // namespace godwit::devices
