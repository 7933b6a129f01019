// A 16550A UART (National Semiconductor PC16550D datasheet; sections are cited by their titles) at
// eight ports, in front of a console.
//
// Where it differs from the chip, on purpose:
// - Characters take no time, whatever the divisor. The transmitter is busy (LSR: THRE and TEMT
//   clear) only while the console's buffer is full; then it holds up to one FIFO of bytes.
// - The FIFO's character timeout is over at once: bytes under the trigger level raise the timeout
//   interrupt (IIR 0xc) as soon as the console has no more of them at hand.
// - Parity, framing and break errors do not happen; break and word length have no effect.
// - The modem is always there: CTS, DSR and DCD set, RI clear.
// - OUT2 does not gate the interrupt (that is a PC's wiring, and guests without it exist).
#pragma once
#include <mutex>

#include "devices/console/console.h"
#include "devices/irq_output.h"
#include "devices/serial_16550_state.h"
#include "vmm/io/device.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices {

inline constexpr uint64_t kCom1Port = 0x3f8;
inline constexpr uint32_t kCom1Gsi = 4;
inline constexpr uint64_t kCom2Port = 0x2f8;
inline constexpr uint32_t kCom2Gsi = 3;
inline constexpr uint64_t kSerialPorts = 8;

class Serial16550 final : public vmm::Device, public vmm::IoHandler, private ConsoleClient {
 public:
  // Quiet until resume(). The references outlive the device; it attaches itself to the console and
  // detaches itself in the destructor. `instance`: 0 for COM1, 1 for COM2.
  Serial16550(ConsoleBackend& console, vmm::IrqLine& irq, uint32_t instance = 0);
  ~Serial16550() override;
  Serial16550(const Serial16550&) = delete;
  Serial16550& operator=(const Serial16550&) = delete;

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

  [[nodiscard]] std::string_view type() const override { return "serial-16550"; }
  [[nodiscard]] uint32_t instance() const override { return instance_; }
  void quiesce() override;
  void resume() override;
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

  // Bytes that the guest wrote although the transmitter was busy; the chip loses them as well.
  [[nodiscard]] uint64_t transmit_overruns() const;

 private:
  bool receive(std::span<const std::byte> bytes) override;
  void output_room() override;

  uint8_t read_register_locked(uint64_t index);
  void write_register_locked(uint64_t index, uint8_t value);
  uint8_t read_data_locked();
  uint8_t read_interrupt_id_locked();
  uint8_t read_line_status_locked();
  uint8_t read_modem_status_locked();
  void write_data_locked(std::byte value);
  void write_interrupt_enable_locked(uint8_t value);
  void write_fifo_control_locked(uint8_t value);
  void write_modem_control_locked(uint8_t value);

  [[nodiscard]] bool loopback_locked() const;
  [[nodiscard]] uint8_t modem_lines_locked() const;
  [[nodiscard]] uint8_t interrupt_id_locked() const;
  void send_transmit_fifo_locked();
  void receive_one_locked(std::byte value);
  void refill_from_inbox_locked();
  void update_irq_locked();

  const uint32_t instance_;
  ConsoleBackend& console_;

  mutable std::mutex mutex_;
  Serial16550State state_;
  IrqOutput irq_;
  bool loaded_ = false;  // since the last resume()
  uint64_t transmit_overruns_ = 0;
};

}  // namespace godwit::devices
