// The complete state of a 16550A and its bytes (section "serial-16550", version 1):
//
//   u8 IER | u8 FCR | u8 LCR | u8 MCR | u8 MSR (delta bits) | u8 SCR | u16 divisor | u8 flags
//   blob receive FIFO (<= 16) | blob transmit FIFO (<= 16) | blob inbox (<= 64)
//   blob output that the console had not sent (<= 64 KiB)
//
// flags: bit 0 overrun error, bit 1 THRE interrupt pending.
#pragma once
#include <cstdint>
#include <span>

#include "devices/byte_queue.h"
#include "devices/console/console.h"
#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"

namespace godwit::devices {

inline constexpr size_t kSerialFifoBytes = 16;

struct Serial16550State {
  uint8_t interrupt_enable = 0;  // guest-controlled; IER bits 0..3
  uint8_t fifo_control = 0;      // guest-controlled; FCR bits 0, 6 and 7
  uint8_t line_control = 0;      // guest-controlled
  uint8_t modem_control = 0;     // guest-controlled; MCR bits 0..4
  uint8_t modem_deltas = 0;      // MSR bits 0..3; bits 4..7 follow from MCR
  uint8_t scratch = 0;           // guest-controlled
  uint16_t divisor = 12;         // guest-controlled; 9600 baud; has no effect
  bool overrun = false;
  bool thre_pending = false;
  ByteQueue<kSerialFifoBytes> receive;
  ByteQueue<kSerialFifoBytes>
      transmit;  // guest-controlled; not empty only while the console is full
  // Input taken from the console that the FIFO had no room for yet.
  ByteQueue<kConsoleInputChunk> inbox;

  [[nodiscard]] bool fifo_enabled() const { return (fifo_control & 1) != 0; }
  [[nodiscard]] size_t fifo_depth() const { return fifo_enabled() ? kSerialFifoBytes : 1; }
};

// All but the console's output, which the caller appends as the last blob.
void encode(const Serial16550State& state, ByteWriter& out);

struct LoadedSerial {
  Serial16550State state;
  std::span<const std::byte> unsent_output;  // inside the reader's bytes
};
// Errors: kCorrupt for bytes that are no state which the device can be in.
Result<LoadedSerial> decode_serial_16550(ByteReader& in);

}  // namespace godwit::devices
