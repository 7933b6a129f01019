// ACPI's fixed hardware, as much as a guest needs to power off, to reset and to hear of the power
// button. Ports and bits: acpi_ports.h.
//
// State (section "acpi-pm", version 2): u16 PM1 status | u16 PM1 enable | u8 PM1 sleep type | u8
// sleep control. Version 1 knew no enable bit but the power button's.
#pragma once
#include <mutex>

#include "devices/acpi_ports.h"
#include "devices/irq_output.h"
#include "vmm/io/device.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices {

struct AcpiPmState {
  uint16_t status = 0;        // only kPm1PowerButton
  uint16_t enable = 0;        // guest-controlled; of kPm1Enables
  uint8_t sleep_type = 0;     // guest-controlled; PM1 control's 0..7
  uint8_t sleep_control = 0;  // guest-controlled; the type bits of the sleep control register
};

class AcpiPm final : public vmm::Device, public vmm::IoHandler {
 public:
  // The references outlive the device. `sci` is level-triggered.
  AcpiPm(vmm::GuestEvents& events, vmm::IrqLine& sci) : events_(events), sci_(sci) {}

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

  // Sets the power button's event, of which a guest that enabled it hears by an SCI. One that did
  // not would hear of it whenever it does: for it nothing happens, and false is returned. Any
  // thread.
  bool press_power_button();

  [[nodiscard]] std::string_view type() const override { return "acpi-pm"; }
  [[nodiscard]] uint16_t state_version() const override { return 2; }
  void resume() override;
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  enum class Action { kNone, kPowerOff, kReset };
  [[nodiscard]] uint8_t read_locked(uint64_t offset) const;
  Action write_locked(uint64_t offset, uint8_t value);
  [[nodiscard]] bool sci_pending_locked() const { return (state_.status & state_.enable) != 0; }

  vmm::GuestEvents& events_;

  mutable std::mutex mutex_;
  AcpiPmState state_;
  IrqOutput sci_;
  bool loaded_ = false;  // since the last resume()
};

}  // namespace godwit::devices
