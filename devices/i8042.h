// The 8042 keyboard controller with nothing plugged in (IBM PC/AT Technical Reference, "Keyboard
// Controller"), and the PS/2 "system control port A": what a guest resets the machine with.
//
// Ports 0x60 (data), 0x64 (command, status) and 0x92. Offsets are the port numbers themselves; see
// PortWindow. The controller answers its own commands at once. A byte for the keyboard is answered
// as the chip does when no keyboard is there: 0xfe with the time-out bit, so that a driver's probe
// fails quickly instead of waiting. The second port's self test fails: there is none. Interrupt 1
// follows a full output buffer while the guest enables it. The A20 gate is kept but has no effect:
// address line 20 is always on. Port 0x61 belongs to KVM's PIT.
//
// State (section "i8042", version 1): u8 output byte | u8 status | u8 pending command |
// u8 output port | u8[32] RAM (byte 0: the command byte).
#pragma once
#include <array>
#include <mutex>

#include "devices/irq_output.h"
#include "vmm/io/device.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices {

inline constexpr uint64_t kI8042DataPort = 0x60;
inline constexpr uint64_t kI8042CommandPort = 0x64;
inline constexpr uint64_t kSystemControlPort = 0x92;
inline constexpr uint32_t kKeyboardGsi = 1;

struct I8042State {
  uint8_t output = 0;             // what the data port reads as
  uint8_t status = 0x18;          // without the system flag, which is the command byte's bit 2
  uint8_t pending_command = 0;    // guest-controlled; one that waits for its data, or 0
  uint8_t output_port = 0x03;     // guest-controlled; bit 0: not in reset, bit 1: A20
  std::array<uint8_t, 32> ram{};  // guest-controlled
};

class I8042 final : public vmm::Device, public vmm::IoHandler {
 public:
  // The references outlive the device.
  I8042(vmm::GuestEvents& events, vmm::IrqLine& keyboard_irq);

  void read(uint64_t port, std::span<std::byte> data) override;
  void write(uint64_t port, std::span<const std::byte> data) override;

  [[nodiscard]] std::string_view type() const override { return "i8042"; }
  void resume() override;
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  uint8_t read_locked(uint64_t port);
  // Whether the machine is to be reset.
  [[nodiscard]] bool write_locked(uint64_t port, uint8_t value);
  [[nodiscard]] bool command_locked(uint8_t command);
  [[nodiscard]] bool data_locked(uint8_t value);
  [[nodiscard]] bool system_control_locked(uint8_t value);
  void reply_locked(uint8_t value, uint8_t extra_status = 0);
  [[nodiscard]] bool irq_pending_locked() const;
  void update_irq_locked();

  vmm::GuestEvents& events_;

  mutable std::mutex mutex_;
  I8042State state_;
  IrqOutput irq_;
  bool loaded_ = false;  // since the last resume()
};

}  // namespace godwit::devices
