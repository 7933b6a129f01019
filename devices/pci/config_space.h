// The configuration space of one function: what a guest reads there and which bits it may write.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/pci/pci_spec.h"

namespace godwit::devices::pci {

struct Identity {
  uint16_t vendor = 0;
  uint16_t device = 0;
  uint8_t revision = 0;
  uint32_t class_code = 0;  // base class << 16 | subclass << 8 | programming interface
  uint16_t subsystem_vendor = 0;
  uint16_t subsystem = 0;
};

// A type 0 header and capabilities, 256 bytes; there are no extended ones. Memory BARs of 32 bits.
// Not synchronised.
class ConfigSpace {
 public:
  explicit ConfigSpace(const Identity& identity);

  // `size` is a power of two from 4 KiB on; `address` is where it lies at first.
  void add_bar(unsigned index, uint32_t size, uint32_t address);
  // Appends a capability: `body` without the two header bytes; `writable` has a mask for each byte
  // of it (shorter: the rest is read-only). Returns the offset of the header.
  uint16_t add_capability(uint8_t id, std::span<const uint8_t> body,
                          std::span<const uint8_t> writable = {});

  // `data` has 1, 2 or 4 bytes; what lies outside reads as zero and is not written.
  void read(uint32_t offset, std::span<std::byte> data) const;
  void write(uint32_t offset, std::span<const std::byte> data);

  [[nodiscard]] uint8_t get8(uint32_t offset) const { return bytes_[offset]; }
  [[nodiscard]] uint16_t get16(uint32_t offset) const;
  [[nodiscard]] uint32_t get32(uint32_t offset) const;
  void set32(uint32_t offset, uint32_t value);

  // Where the BAR lies, if the guest lets it answer.
  struct Bar {
    uint32_t address = 0;
    uint32_t size = 0;  // 0: no such BAR
  };
  [[nodiscard]] Bar bar(unsigned index) const;
  [[nodiscard]] bool memory_enabled() const { return (get16(kCommand) & kCommandMemory) != 0; }

  // The bits that a guest can write, and only they, are state.
  [[nodiscard]] std::array<uint8_t, 256> writable_bits() const;
  void set_writable_bits(const std::array<uint8_t, 256>& bits);

 private:
  std::array<uint8_t, 256> bytes_{};
  std::array<uint8_t, 256> writable_{};
  std::array<uint32_t, kBars> bar_sizes_{};
  uint16_t next_capability_ = kHeaderEnd;
  uint16_t last_capability_ = 0;
};

}  // namespace godwit::devices::pci
