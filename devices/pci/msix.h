// MSI-X: a table of messages, one for each vector (PCI Local Bus 3.0, 6.8.2).
//
// State: u16 message control | per vector: u64 address, u32 data, u32 control, u8 pending.
#pragma once
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "devices/pci/pci_spec.h"
#include "vmm/base/byte_io.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices::pci {

// Threads: any.
class Msix {
 public:
  // `sink` outlives it. 1 to 2048 vectors.
  Msix(vmm::MsiSink& sink, uint16_t vectors) : sink_(sink), entries_(vectors) {}

  [[nodiscard]] uint16_t vectors() const { return static_cast<uint16_t>(entries_.size()); }
  [[nodiscard]] uint32_t table_bytes() const { return vectors() * kMsixEntrySize; }
  // Raises it, or keeps it pending while it is masked. Without MSI-X enabled it is lost: there is
  // no other kind of interrupt here. A vector that is not there is ignored.
  void signal(uint16_t vector);

  // The guest's accesses to the table; what is outside reads as zero. Aligned 4 or 8 bytes, others
  // are ignored (the specification leaves them undefined).
  void read_table(uint64_t offset, std::span<std::byte> data) const;
  void write_table(uint64_t offset, std::span<const std::byte> data);
  void read_pending(uint64_t offset, std::span<std::byte> data) const;
  // The message control register was written.
  void set_control(uint16_t control);

  void save(ByteWriter& out) const;
  // Reads and checks; nothing is signalled and nothing changes before apply().
  struct State {
    struct Entry {
      uint64_t address = 0;
      uint32_t data = 0;
      uint32_t control = kMsixEntryMask;
      bool pending = false;
    };
    uint16_t control = 0;
    std::vector<Entry> entries;
  };
  Result<State> read_state(ByteReader& in) const;
  void apply(State state);

 private:
  void fire_pending_locked();
  [[nodiscard]] bool masked_locked(const State::Entry& entry) const;

  vmm::MsiSink& sink_;
  mutable std::mutex mutex_;
  std::vector<State::Entry> entries_;
  uint16_t control_ = 0;
};

}  // namespace godwit::devices::pci
