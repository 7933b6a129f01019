// A PCI function as the root sees it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace godwit::devices::pci {

// Threads: called on any vCPU's thread; the function locks for itself.
class Function {
 public:
  virtual ~Function() = default;
  // `offset` is below 4096 and `data` has 1, 2 or 4 bytes, aligned as they are long.
  virtual void read_config(uint32_t offset, std::span<std::byte> data) = 0;
  virtual void write_config(uint32_t offset, std::span<const std::byte> data) = 0;
  // An access to memory: whether [address, address + data.size()) was in a BAR that answers.
  virtual bool read_memory(uint64_t address, std::span<std::byte> data) = 0;
  virtual bool write_memory(uint64_t address, std::span<const std::byte> data) = 0;
};

}  // namespace godwit::devices::pci
