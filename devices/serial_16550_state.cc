#include "devices/serial_16550_state.h"

namespace godwit::devices {
namespace {

constexpr uint8_t kFlagOverrun = 1;
constexpr uint8_t kFlagThrePending = 2;

Result<> validate(const Serial16550State& s, uint8_t flags) {
  const bool registers_fit = (s.interrupt_enable & ~0x0f) == 0 && (s.fifo_control & ~0xc1) == 0 &&
                             (s.fifo_enabled() || s.fifo_control == 0) &&
                             (s.modem_control & ~0x1f) == 0 && (s.modem_deltas & ~0x0f) == 0;
  if (!registers_fit) {
    return make_error(Errc::kCorrupt,
                      "serial-16550: registers with bits that do not exist: IER {:#x}, FCR {:#x}, "
                      "MCR {:#x}, MSR {:#x}",
                      s.interrupt_enable, s.fifo_control, s.modem_control, s.modem_deltas);
  }
  if ((flags & ~(kFlagOverrun | kFlagThrePending)) != 0 ||
      (s.thre_pending && !s.transmit.empty())) {
    return make_error(Errc::kCorrupt, "serial-16550: flags {:#x} cannot be with {} bytes to send",
                      flags, s.transmit.size());
  }
  if (s.receive.size() > s.fifo_depth() || s.transmit.size() > s.fifo_depth()) {
    return make_error(Errc::kCorrupt,
                      "serial-16550: {} bytes received and {} to send in FIFOs of {}",
                      s.receive.size(), s.transmit.size(), s.fifo_depth());
  }
  return {};
}

}  // namespace

void encode(const Serial16550State& s, ByteWriter& out) {
  out.u8(s.interrupt_enable);
  out.u8(s.fifo_control);
  out.u8(s.line_control);
  out.u8(s.modem_control);
  out.u8(s.modem_deltas);
  out.u8(s.scratch);
  out.u16(s.divisor);
  out.u8(static_cast<uint8_t>((s.overrun ? kFlagOverrun : 0) |
                              (s.thre_pending ? kFlagThrePending : 0)));
  out.blob(s.receive.view());
  out.blob(s.transmit.view());
  out.blob(s.inbox.view());
}

Result<LoadedSerial> decode_serial_16550(ByteReader& in) {
  LoadedSerial loaded;
  Serial16550State& s = loaded.state;
  s.interrupt_enable = in.u8();
  s.fifo_control = in.u8();
  s.line_control = in.u8();
  s.modem_control = in.u8();
  s.modem_deltas = in.u8();
  s.scratch = in.u8();
  s.divisor = in.u16();
  const uint8_t flags = in.u8();
  s.overrun = (flags & kFlagOverrun) != 0;
  s.thre_pending = (flags & kFlagThrePending) != 0;
  s.receive.push(in.blob(kSerialFifoBytes, "the receive FIFO's size"));
  s.transmit.push(in.blob(kSerialFifoBytes, "the transmit FIFO's size"));
  s.inbox.push(in.blob(kConsoleInputChunk, "the inbox's size"));
  loaded.unsent_output = in.blob(kConsoleOutputBytes, "the unsent output's size");
  GODWIT_TRY(in.finish());
  GODWIT_TRY(validate(s, flags));
  return loaded;
}

}  // namespace godwit::devices
