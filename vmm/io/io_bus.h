// Routes guest I/O to devices.
#pragma once
#include <cstdint>
#include <map>
#include <span>

#include "vmm/io/io_handler.h"

namespace godwit::vmm {

// Threads: attach() before the first vCPU runs; read() and write() from any thread after that.
class IoBus {
 public:
  // Serves [base, base + size) by `handler`, which outlives the bus. Overlap is a bug: aborts.
  void attach(uint64_t base, uint64_t size, IoHandler& handler);
  // An access that no handler covers, or that leaves a handler's range, reads as ones and writes
  // nothing, as a bus without a device does. Returns whether it was served.
  bool read(uint64_t address, std::span<std::byte> data) const;
  bool write(uint64_t address, std::span<const std::byte> data) const;

 private:
  struct Range {
    uint64_t base, size;
    IoHandler* handler;
  };
  [[nodiscard]] const Range* find(uint64_t address, uint64_t size) const;
  std::map<uint64_t, Range> ranges_;  // by base
};

}  // namespace godwit::vmm
