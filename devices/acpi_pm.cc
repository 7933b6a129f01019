#include "devices/acpi_pm.h"

namespace godwit::devices {
namespace {

constexpr uint8_t kSleepTypeBits = kSleepTypeMask << kSleepTypeShift;
// The bits as seen in the upper bytes of 16-bit registers.
constexpr uint8_t kPowerButtonHigh = kPm1PowerButton >> 8;
constexpr uint8_t kPm1SleepEnableHigh = kPm1SleepEnable >> 8;
constexpr unsigned kPm1SleepTypeShiftHigh = kPm1SleepTypeShift - 8;

}  // namespace

void AcpiPm::read(uint64_t offset, std::span<std::byte> data) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::byte{read_locked(offset + i)};
}

void AcpiPm::write(uint64_t offset, std::span<const std::byte> data) {
  Action action = Action::kNone;
  {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < data.size(); ++i) {
      const Action next = write_locked(offset + i, std::to_integer<uint8_t>(data[i]));
      if (next != Action::kNone) action = next;
    }
    sci_.set(sci_pending_locked());
  }
  // Without the lock: what hears of it may look at this device.
  if (action == Action::kPowerOff) events_.power_off();
  if (action == Action::kReset) events_.reset();
}

uint8_t AcpiPm::read_locked(uint64_t offset) const {
  switch (offset) {
    case kPm1StatusOffset + 1:
      return static_cast<uint8_t>(state_.status >> 8);
    case kPm1EnableOffset:
      return static_cast<uint8_t>(state_.enable);
    case kPm1EnableOffset + 1:
      return static_cast<uint8_t>(state_.enable >> 8);
    case kPm1ControlOffset:
      // FADT's SMI_CMD is 0: the machine is in ACPI mode from the start (4.8.2.5).
      return kPm1SciEnable;
    case kPm1ControlOffset + 1:
      return static_cast<uint8_t>(state_.sleep_type << kPm1SleepTypeShiftHigh);
    case kSleepControlOffset:
      return state_.sleep_control;
    default:
      return 0;  // SLP_EN reads as zero, WAK_STS never is set: nothing sleeps here
  }
}

AcpiPm::Action AcpiPm::write_locked(uint64_t offset, uint8_t value) {
  switch (offset) {
    case kPm1StatusOffset + 1:
      // 4.8.3.1.1: writing one clears.
      if ((value & kPowerButtonHigh) != 0) state_.status = 0;
      return Action::kNone;
    case kPm1EnableOffset:
      state_.enable = static_cast<uint16_t>((state_.enable & 0xff00) | value) & kPm1Enables;
      return Action::kNone;
    case kPm1EnableOffset + 1:
      state_.enable = static_cast<uint16_t>((state_.enable & 0xff) | value << 8) & kPm1Enables;
      return Action::kNone;
    case kPm1ControlOffset + 1:
      state_.sleep_type = (value >> kPm1SleepTypeShiftHigh) & kSleepTypeMask;
      if ((value & kPm1SleepEnableHigh) == 0) return Action::kNone;
      return state_.sleep_type == kSleepTypeS5 || state_.sleep_type == kSleepTypeS5Legacy
                 ? Action::kPowerOff
                 : Action::kNone;  // no other sleeping state is offered
    case kSleepControlOffset:
      state_.sleep_control = value & kSleepTypeBits;
      if ((value & kSleepEnable) == 0) return Action::kNone;
      return state_.sleep_control >> kSleepTypeShift == kSleepTypeS5 ? Action::kPowerOff
                                                                     : Action::kNone;
    case kResetOffset:
      return value == kResetValue ? Action::kReset : Action::kNone;
    default:
      return Action::kNone;
  }
}

bool AcpiPm::press_power_button() {
  const std::lock_guard lock(mutex_);
  if ((state_.enable & kPm1PowerButton) == 0) return false;
  state_.status |= kPm1PowerButton;
  sci_.set(sci_pending_locked());
  return true;
}

void AcpiPm::resume() {
  const std::lock_guard lock(mutex_);
  if (!loaded_) return;
  loaded_ = false;
  sci_.set_after_load(sci_pending_locked());
}

void AcpiPm::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  out.u16(state_.status);
  out.u16(state_.enable);
  out.u8(state_.sleep_type);
  out.u8(state_.sleep_control);
}

Result<> AcpiPm::load(ByteReader& in, uint16_t version) {
  const uint16_t enables = version == 1 ? kPm1PowerButton : kPm1Enables;
  AcpiPmState loaded;
  loaded.status = in.u16();
  loaded.enable = in.u16();
  loaded.sleep_type = in.u8();
  loaded.sleep_control = in.u8();
  GODWIT_TRY(in.finish());
  if ((loaded.status & ~kPm1PowerButton) != 0 || (loaded.enable & ~enables) != 0 ||
      (loaded.sleep_type & ~kSleepTypeMask) != 0 || (loaded.sleep_control & ~kSleepTypeBits) != 0) {
    return make_error(Errc::kCorrupt,
                      "acpi-pm: registers with bits that do not exist: status {:#x}, enable {:#x}, "
                      "sleep type {:#x}, sleep control {:#x}",
                      loaded.status, loaded.enable, loaded.sleep_type, loaded.sleep_control);
  }
  const std::lock_guard lock(mutex_);
  state_ = loaded;
  loaded_ = true;
  return {};
}

}  // namespace godwit::devices
