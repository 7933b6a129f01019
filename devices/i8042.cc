#include "devices/i8042.h"

namespace godwit::devices {
namespace {

// Status register.
constexpr uint8_t kOutputFull = 0x01;
constexpr uint8_t kSystemFlag = 0x04;
constexpr uint8_t kLastWasCommand = 0x08;
constexpr uint8_t kNotLocked = 0x10;
constexpr uint8_t kFromAux = 0x20;
constexpr uint8_t kTimeout = 0x40;
constexpr uint8_t kStatusMask = kOutputFull | kLastWasCommand | kNotLocked | kFromAux | kTimeout;
// Command byte, at RAM 0.
constexpr uint8_t kKeyboardInterrupt = 0x01;
constexpr uint8_t kKeyboardDisabled = 0x10;
constexpr uint8_t kAuxDisabled = 0x20;
// Output port.
constexpr uint8_t kNotReset = 0x01;
constexpr uint8_t kA20 = 0x02;
constexpr uint8_t kOutputPortFull = 0x10;
// Commands that wait for data.
constexpr uint8_t kWriteRam = 0x60;
constexpr uint8_t kWriteRamEnd = 0x7f;
constexpr uint8_t kWriteOutputPort = 0xd1;
constexpr uint8_t kWriteKeyboardBuffer = 0xd2;
constexpr uint8_t kWriteAuxBuffer = 0xd3;
constexpr uint8_t kWriteAux = 0xd4;

constexpr uint8_t kNobody = 0xfe;  // "resend": with kTimeout, no device answered

bool waits_for_data(uint8_t command) {
  return (command >= kWriteRam && command <= kWriteRamEnd) || command == kWriteOutputPort ||
         command == kWriteKeyboardBuffer || command == kWriteAuxBuffer || command == kWriteAux;
}

}  // namespace

I8042::I8042(vmm::GuestEvents& events, vmm::IrqLine& keyboard_irq)
    : events_(events), irq_(keyboard_irq) {
  state_.ram[0] = kKeyboardDisabled | kAuxDisabled;
}

void I8042::read(uint64_t port, std::span<std::byte> data) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::byte{read_locked(port + i)};
  update_irq_locked();
}

void I8042::write(uint64_t port, std::span<const std::byte> data) {
  bool reset = false;
  {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < data.size(); ++i) {
      reset |= write_locked(port + i, std::to_integer<uint8_t>(data[i]));
    }
    update_irq_locked();
  }
  // Without the lock: what hears of it may look at this device.
  if (reset) events_.reset();
}

uint8_t I8042::read_locked(uint64_t port) {
  switch (port) {
    case kI8042DataPort:
      state_.status &= ~(kOutputFull | kFromAux | kTimeout);
      return state_.output;
    case kI8042CommandPort:
      return state_.status | (state_.ram[0] & kSystemFlag);
    case kSystemControlPort:
      return state_.output_port & kA20;
    default:
      return 0xff;
  }
}

bool I8042::write_locked(uint64_t port, uint8_t value) {
  switch (port) {
    case kI8042DataPort:
      state_.status &= ~kLastWasCommand;
      return data_locked(value);
    case kI8042CommandPort:
      state_.status |= kLastWasCommand;
      return command_locked(value);
    case kSystemControlPort:
      return system_control_locked(value);
    default:
      return false;
  }
}

bool I8042::command_locked(uint8_t command) {
  state_.pending_command = waits_for_data(command) ? command : 0;
  if (command >= 0x20 && command <= 0x3f) {  // read RAM
    reply_locked(state_.ram[command & 0x1f]);
    return false;
  }
  if (command >= 0xf0) return (command & kNotReset) == 0;  // pulse output lines: bit 0 is reset
  switch (command) {
    case 0xa7:  // disable the second port, which stays so
    case 0xa8:
      break;
    case 0xa9:  // test the second port: its clock line is stuck
      reply_locked(0x01);
      break;
    case 0xaa:  // self test
      state_.ram[0] |= kSystemFlag;
      reply_locked(0x55);
      break;
    case 0xab:  // test the first port: no fault
      reply_locked(0x00);
      break;
    case 0xad:
      state_.ram[0] |= kKeyboardDisabled;
      break;
    case 0xae:
      state_.ram[0] &= ~kKeyboardDisabled;
      break;
    case 0xc0:  // read the input port: keyboard not locked
      reply_locked(0x80);
      break;
    case 0xd0:
      reply_locked(state_.output_port | ((state_.status & kOutputFull) != 0 ? kOutputPortFull : 0));
      break;
    default:
      break;
  }
  return false;
}

bool I8042::data_locked(uint8_t value) {
  const uint8_t command = state_.pending_command;
  state_.pending_command = 0;
  if (command >= kWriteRam && command <= kWriteRamEnd) {
    state_.ram[command & 0x1f] = value;
    state_.ram[0] |= kAuxDisabled;
    return false;
  }
  switch (command) {
    case kWriteOutputPort:
      state_.output_port = (value & kA20) | kNotReset;
      return (value & kNotReset) == 0;
    case kWriteKeyboardBuffer:
      reply_locked(value);
      return false;
    case kWriteAuxBuffer:
    case kWriteAux:
      reply_locked(kNobody, kTimeout | kFromAux);
      return false;
    default:  // for the keyboard; that also switches its interface on
      state_.ram[0] &= ~kKeyboardDisabled;
      reply_locked(kNobody, kTimeout);
      return false;
  }
}

bool I8042::system_control_locked(uint8_t value) {
  state_.output_port = (value & kA20) | kNotReset;
  return (value & 0x01) != 0;  // fast reset
}

void I8042::reply_locked(uint8_t value, uint8_t extra_status) {
  state_.output = value;
  state_.status &= ~(kFromAux | kTimeout);
  state_.status |= kOutputFull | extra_status;
}

bool I8042::irq_pending_locked() const {
  return (state_.status & kOutputFull) != 0 && (state_.status & kFromAux) == 0 &&
         (state_.ram[0] & kKeyboardInterrupt) != 0;
}

void I8042::update_irq_locked() {
  irq_.set(irq_pending_locked());
}

void I8042::resume() {
  const std::lock_guard lock(mutex_);
  if (!loaded_) return;
  loaded_ = false;
  irq_.set_after_load(irq_pending_locked());
}

void I8042::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  out.u8(state_.output);
  out.u8(state_.status);
  out.u8(state_.pending_command);
  out.u8(state_.output_port);
  out.bytes(std::as_bytes(std::span(state_.ram)));
}

Result<> I8042::load(ByteReader& in, uint16_t /*version*/) {
  I8042State loaded;
  loaded.output = in.u8();
  loaded.status = in.u8();
  loaded.pending_command = in.u8();
  loaded.output_port = in.u8();
  const auto ram = in.bytes(loaded.ram.size());
  GODWIT_TRY(in.finish());
  for (size_t i = 0; i < ram.size(); ++i) loaded.ram[i] = std::to_integer<uint8_t>(ram[i]);
  if ((loaded.status & ~kStatusMask) != 0 || (loaded.status & kNotLocked) == 0 ||
      (loaded.pending_command != 0 && !waits_for_data(loaded.pending_command)) ||
      (loaded.output_port | kA20) != (kNotReset | kA20) || (loaded.ram[0] & kAuxDisabled) == 0) {
    return make_error(Errc::kCorrupt,
                      "i8042: status {:#x}, pending command {:#x}, output port {:#x} and command "
                      "byte {:#x} cannot be",
                      loaded.status, loaded.pending_command, loaded.output_port, loaded.ram[0]);
  }
  const std::lock_guard lock(mutex_);
  state_ = loaded;
  loaded_ = true;
  return {};
}

}  // namespace godwit::devices
