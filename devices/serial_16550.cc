#include "devices/serial_16550.h"

#include <algorithm>
#include <array>

namespace godwit::devices {
namespace {

enum Register : uint64_t { kData, kIer, kIirFcr, kLcr, kMcr, kLsr, kMsr, kScr };

// "Interrupt Enable Register".
constexpr uint8_t kIerReceive = 0x01;
constexpr uint8_t kIerTransmit = 0x02;
constexpr uint8_t kIerLineStatus = 0x04;
constexpr uint8_t kIerModemStatus = 0x08;
// "Interrupt Identification Register": the ids, in the order of their priority.
constexpr uint8_t kIdLineStatus = 0x06;
constexpr uint8_t kIdReceive = 0x04;
constexpr uint8_t kIdTimeout = 0x0c;
constexpr uint8_t kIdTransmit = 0x02;
constexpr uint8_t kIdModemStatus = 0x00;
constexpr uint8_t kIdNone = 0x01;
constexpr uint8_t kIirFifosEnabled = 0xc0;
// "FIFO Control Register".
constexpr uint8_t kFcrEnable = 0x01;
constexpr uint8_t kFcrResetReceive = 0x02;
constexpr uint8_t kFcrResetTransmit = 0x04;
constexpr uint8_t kFcrTrigger = 0xc0;
constexpr std::array<size_t, 4> kTriggerLevels = {1, 4, 8, 14};
// "Line Control Register".
constexpr uint8_t kLcrDivisorLatch = 0x80;
// "Modem Control Register".
constexpr uint8_t kMcrDtr = 0x01;
constexpr uint8_t kMcrRts = 0x02;
constexpr uint8_t kMcrOut1 = 0x04;
constexpr uint8_t kMcrOut2 = 0x08;
constexpr uint8_t kMcrLoopback = 0x10;
constexpr uint8_t kMcrMask = 0x1f;
// "Line Status Register".
constexpr uint8_t kLsrDataReady = 0x01;
constexpr uint8_t kLsrOverrun = 0x02;
constexpr uint8_t kLsrTransmitterIdle = 0x60;  // THRE and TEMT
// "Modem Status Register".
constexpr uint8_t kMsrTrailingRing = 0x04;
constexpr uint8_t kMsrCts = 0x10;
constexpr uint8_t kMsrDsr = 0x20;
constexpr uint8_t kMsrRing = 0x40;
constexpr uint8_t kMsrDcd = 0x80;

}  // namespace

Serial16550::Serial16550(ConsoleBackend& console, vmm::IrqLine& irq, uint32_t instance)
    : instance_(instance), console_(console), irq_(irq) {
  console_.attach(*this);
}

Serial16550::~Serial16550() {
  console_.detach();
}

void Serial16550::read(uint64_t offset, std::span<std::byte> data) {
  const std::lock_guard lock(mutex_);
  // As on the ISA bus, a wide access is several narrow ones.
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::byte{read_register_locked(offset + i)};
  update_irq_locked();
}

void Serial16550::write(uint64_t offset, std::span<const std::byte> data) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    write_register_locked(offset + i, std::to_integer<uint8_t>(data[i]));
  }
  update_irq_locked();
}

uint8_t Serial16550::read_register_locked(uint64_t index) {
  const bool latch = (state_.line_control & kLcrDivisorLatch) != 0;
  switch (index) {
    case kData:
      return latch ? static_cast<uint8_t>(state_.divisor) : read_data_locked();
    case kIer:
      return latch ? static_cast<uint8_t>(state_.divisor >> 8) : state_.interrupt_enable;
    case kIirFcr:
      return read_interrupt_id_locked();
    case kLcr:
      return state_.line_control;
    case kMcr:
      return state_.modem_control;
    case kLsr:
      return read_line_status_locked();
    case kMsr:
      return read_modem_status_locked();
    case kScr:
      return state_.scratch;
    default:
      return 0xff;
  }
}

void Serial16550::write_register_locked(uint64_t index, uint8_t value) {
  const bool latch = (state_.line_control & kLcrDivisorLatch) != 0;
  switch (index) {
    case kData:
      if (latch) {
        state_.divisor = static_cast<uint16_t>((state_.divisor & 0xff00) | value);
      } else {
        write_data_locked(std::byte{value});
      }
      break;
    case kIer:
      if (latch) {
        state_.divisor = static_cast<uint16_t>((state_.divisor & 0x00ff) | (value << 8));
      } else {
        write_interrupt_enable_locked(value);
      }
      break;
    case kIirFcr:
      write_fifo_control_locked(value);
      break;
    case kLcr:
      state_.line_control = value;
      break;
    case kMcr:
      write_modem_control_locked(value);
      break;
    case kScr:
      state_.scratch = value;
      break;
    default:  // LSR and MSR: "intended for read operations only"
      break;
  }
}

uint8_t Serial16550::read_data_locked() {
  if (state_.receive.empty()) return 0;
  const auto value = std::to_integer<uint8_t>(state_.receive.take());
  refill_from_inbox_locked();
  return value;
}

uint8_t Serial16550::read_interrupt_id_locked() {
  const uint8_t id = interrupt_id_locked();
  // "Interrupt Set and Reset Functions": reading IIR resets this one if it is the source shown.
  if (id == kIdTransmit) state_.thre_pending = false;
  return id | (state_.fifo_enabled() ? kIirFifosEnabled : 0);
}

uint8_t Serial16550::read_line_status_locked() {
  uint8_t value = state_.transmit.empty() ? kLsrTransmitterIdle : 0;
  if (!state_.receive.empty()) value |= kLsrDataReady;
  if (state_.overrun) value |= kLsrOverrun;
  state_.overrun = false;
  return value;
}

uint8_t Serial16550::read_modem_status_locked() {
  const uint8_t value = modem_lines_locked() | state_.modem_deltas;
  state_.modem_deltas = 0;
  return value;
}

void Serial16550::write_data_locked(std::byte value) {
  if (loopback_locked()) {
    // "Modem Control Register", bit 4: what is transmitted is received at once.
    receive_one_locked(value);
    state_.thre_pending = state_.transmit.empty();
    return;
  }
  if (state_.transmit.size() < state_.fifo_depth()) {
    state_.transmit.push(value);
    state_.thre_pending = false;
  } else {
    ++transmit_overruns_;
  }
  send_transmit_fifo_locked();
}

void Serial16550::write_interrupt_enable_locked(uint8_t value) {
  value &= kIerReceive | kIerTransmit | kIerLineStatus | kIerModemStatus;
  const bool newly = (value & ~state_.interrupt_enable & kIerTransmit) != 0;
  // An idle transmitter interrupts whenever its interrupt gets enabled; drivers rely on it.
  if (newly && state_.transmit.empty()) state_.thre_pending = true;
  state_.interrupt_enable = value;
}

void Serial16550::write_fifo_control_locked(uint8_t value) {
  const bool enable = (value & kFcrEnable) != 0;
  const bool switched = enable != state_.fifo_enabled();
  // "FIFO Control Register", bit 0: must be set for the others to be programmed; changing it
  // clears both FIFOs.
  const auto resets = [&](uint8_t bit) { return switched || (enable && (value & bit) != 0); };
  if (resets(kFcrResetReceive)) state_.receive.clear();
  if (resets(kFcrResetTransmit) && !state_.transmit.empty()) {
    state_.transmit.clear();
    state_.thre_pending = true;
  }
  state_.fifo_control = enable ? (value & (kFcrEnable | kFcrTrigger)) : 0;
  refill_from_inbox_locked();
}

void Serial16550::write_modem_control_locked(uint8_t value) {
  const uint8_t before = modem_lines_locked();
  state_.modem_control = value & kMcrMask;
  const uint8_t after = modem_lines_locked();
  // "Modem Status Register": DCTS, DDSR and DDCD on any change, TERI when the ring ends.
  const auto changed = static_cast<uint8_t>(before ^ after);
  state_.modem_deltas |= (changed & (kMsrCts | kMsrDsr | kMsrDcd)) >> 4;
  if ((before & ~after & kMsrRing) != 0) state_.modem_deltas |= kMsrTrailingRing;
  refill_from_inbox_locked();
}

bool Serial16550::loopback_locked() const {
  return (state_.modem_control & kMcrLoopback) != 0;
}

uint8_t Serial16550::modem_lines_locked() const {
  if (!loopback_locked()) return kMsrCts | kMsrDsr | kMsrDcd;
  // "Modem Control Register", bit 4: the four outputs become the four inputs.
  uint8_t lines = 0;
  if ((state_.modem_control & kMcrRts) != 0) lines |= kMsrCts;
  if ((state_.modem_control & kMcrDtr) != 0) lines |= kMsrDsr;
  if ((state_.modem_control & kMcrOut1) != 0) lines |= kMsrRing;
  if ((state_.modem_control & kMcrOut2) != 0) lines |= kMsrDcd;
  return lines;
}

uint8_t Serial16550::interrupt_id_locked() const {
  const auto enabled = [this](uint8_t bit) { return (state_.interrupt_enable & bit) != 0; };
  if (enabled(kIerLineStatus) && state_.overrun) return kIdLineStatus;
  if (enabled(kIerReceive) && !state_.receive.empty()) {
    const size_t trigger = kTriggerLevels[state_.fifo_control >> 6];
    return state_.receive.size() >= trigger ? kIdReceive : kIdTimeout;
  }
  if (enabled(kIerTransmit) && state_.thre_pending) return kIdTransmit;
  if (enabled(kIerModemStatus) && state_.modem_deltas != 0) return kIdModemStatus;
  return kIdNone;
}

void Serial16550::send_transmit_fifo_locked() {
  if (state_.transmit.empty()) return;
  state_.transmit.pop(console_.write(state_.transmit.view()));
  if (state_.transmit.empty()) state_.thre_pending = true;
}

void Serial16550::receive_one_locked(std::byte value) {
  if (state_.receive.size() < state_.fifo_depth()) {
    state_.receive.push(value);
    return;
  }
  // "Line Status Register", bit 1: in the FIFO mode the new character is lost, else the old one.
  state_.overrun = true;
  if (!state_.fifo_enabled()) {
    state_.receive.clear();
    state_.receive.push(value);
  }
}

void Serial16550::refill_from_inbox_locked() {
  // In loopback the line is disconnected: what comes in from outside waits.
  if (loopback_locked() || state_.inbox.empty()) return;
  const size_t room = state_.fifo_depth() - state_.receive.size();
  const size_t n = std::min(room, state_.inbox.size());
  state_.receive.push(state_.inbox.view().first(n));
  state_.inbox.pop(n);
  if (state_.inbox.empty()) console_.set_input_wanted(true);
}

void Serial16550::update_irq_locked() {
  irq_.set(interrupt_id_locked() != kIdNone);
}

bool Serial16550::receive(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  state_.inbox.push(bytes);
  refill_from_inbox_locked();
  update_irq_locked();
  return state_.inbox.empty();
}

void Serial16550::output_room() {
  const std::lock_guard lock(mutex_);
  send_transmit_fifo_locked();
  update_irq_locked();
}

void Serial16550::quiesce() {
  console_.quiesce();
}

void Serial16550::resume() {
  {
    const std::lock_guard lock(mutex_);
    if (loaded_) {
      loaded_ = false;
      send_transmit_fifo_locked();
      console_.set_input_wanted(state_.inbox.empty());
      irq_.set_after_load(interrupt_id_locked() != kIdNone);
    }
  }
  console_.resume();
}

void Serial16550::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  encode(state_, out);
  console_.save_output(out);
}

Result<> Serial16550::load(ByteReader& in, uint16_t /*version*/) {
  GODWIT_ASSIGN(const LoadedSerial loaded, decode_serial_16550(in));
  const std::lock_guard lock(mutex_);
  state_ = loaded.state;
  console_.load_output(loaded.unsent_output);
  loaded_ = true;
  return {};
}

uint64_t Serial16550::transmit_overruns() const {
  const std::lock_guard lock(mutex_);
  return transmit_overruns_;
}

}  // namespace godwit::devices
