// What a device looks like to the buses.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace godwit::vmm {

// Serves one range of port or memory-mapped I/O. `offset` counts from the start of the range,
// `data` has 1, 2, 4 or 8 bytes and lies wholly inside it; both are guest-controlled.
// Threads: called on any vCPU's thread; the handler locks for itself.
class IoHandler {
 public:
  virtual ~IoHandler() = default;
  virtual void read(uint64_t offset, std::span<std::byte> data) = 0;
  virtual void write(uint64_t offset, std::span<const std::byte> data) = 0;
};

// An interrupt input. Threads: any.
class IrqLine {
 public:
  virtual ~IrqLine() = default;
  virtual void set(bool level) = 0;
};

// Message-signalled interrupts. Threads: any.
class MsiSink {
 public:
  virtual ~MsiSink() = default;
  // Delivers `data`, written to `address`, to the local APICs. What no APIC takes is lost, as on a
  // bus: both are the guest's.
  virtual void signal(uint64_t address, uint32_t data) = 0;
};

// Guest writes that ring an eventfd instead of leaving the guest. Threads: any.
class Doorbells {
 public:
  virtual ~Doorbells() = default;
  // From now on a write at `address` of the memory bus, of any width that KVM can match, adds one
  // to `event_fd` and reaches no handler. False where that cannot be had: then the handler of the
  // bus gets the write, as it gets those of other widths.
  virtual bool attach(uint64_t address, int event_fd) = 0;
  // Of an attached one.
  virtual void detach(uint64_t address, int event_fd) noexcept = 0;
};

// How a guest ends or complains. Threads: called on a vCPU's thread; must return at once.
class GuestEvents {
 public:
  virtual ~GuestEvents() = default;
  virtual void power_off() = 0;
  virtual void reset() = 0;
  // The guest wrote `code` to the debug-exit port: the VMM ends with a status made from it.
  virtual void debug_exit(uint32_t code) = 0;
};

}  // namespace godwit::vmm
