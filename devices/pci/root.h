// The host bridge of PCI bus 0: finds functions for configuration accesses (ports 0xcf8/0xcfc and
// ECAM) and for accesses to the window of BARs.
//
// State (section "pci-root", version 1): u32 address register at 0xcf8.
#pragma once
#include <array>
#include <atomic>

#include "devices/pci/config_space.h"
#include "devices/pci/function.h"
#include "vmm/io/device.h"
#include "vmm/io/io_bus.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices::pci {

// Slot 0 is the bridge itself. No function has an interrupt pin: there are only MSI-X.
class Root final : public vmm::Device {
 public:
  Root();
  // Before the first vCPU runs; `slot` is 1 to kSlots - 1 and free. The function outlives the root.
  void add(unsigned slot, Function& function);
  // Ports, ECAM and the window.
  void attach(vmm::IoBus& ports, vmm::IoBus& memory);

  [[nodiscard]] std::string_view type() const override { return "pci-root"; }
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  struct Ports final : vmm::IoHandler {
    explicit Ports(Root& r) : root(r) {}
    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;
    // Where the data register points: an offset as in ECAM, or nothing.
    [[nodiscard]] bool target(uint64_t port_offset, uint64_t& ecam_offset) const;
    Root& root;
  };
  struct Ecam final : vmm::IoHandler {
    explicit Ecam(Root& r) : root(r) {}
    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;
    Root& root;
  };
  struct Window final : vmm::IoHandler {
    explicit Window(Root& r) : root(r) {}
    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;
    Root& root;
  };

  void read_config(uint64_t ecam_offset, std::span<std::byte> data);
  void write_config(uint64_t ecam_offset, std::span<const std::byte> data);

  ConfigSpace bridge_;
  std::array<Function*, kSlots> functions_{};
  std::atomic<uint32_t> address_{0};
  Ports ports_{*this};
  Ecam ecam_{*this};
  Window window_{*this};
};

}  // namespace godwit::devices::pci
