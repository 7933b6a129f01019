#include "devices/rtc_cmos.h"

#include <algorithm>

namespace godwit::devices {
namespace {

using std::chrono::floor;
using std::chrono::seconds;

// "Register A", UIP: set for this long before each update.
constexpr Microseconds kUpdateWarning(244);
// "Register A", DV: the first update comes half a second after the divider's reset ends.
constexpr Microseconds kAfterDividerReset(500'000);

bool is_time(uint8_t index) {
  return index == kCmosSecond || index == kCmosMinute || index == kCmosHour ||
         (index >= kCmosWeekday && index <= kCmosYear) || index == kCmosCentury;
}

Microseconds part_of_second(Microseconds time) {
  return time - floor<seconds>(time);
}

// "Register A", RS bits with a 32 kHz time base; 0: none.
int64_t periodic_hz(uint8_t a) {
  const int rate = a & kRtcRateMask;
  if (rate == 0) return 0;
  return 32'768 >> (rate <= 2 ? rate + 6 : rate - 1);
}

int64_t periodic_ticks(Microseconds time, int64_t hz) {
  return part_of_second(time).count() * hz / 1'000'000;
}

void put(std::array<uint8_t, kCmosBytes>& cmos, size_t index, size_t bytes, uint64_t value) {
  const uint64_t most = (uint64_t{1} << (8 * bytes)) - 1;
  value = std::min(value, most);
  for (size_t i = 0; i < bytes; ++i) cmos[index + i] = static_cast<uint8_t>(value >> (8 * i));
}

std::array<uint8_t, kCmosBytes> initial_cmos(const RtcConfig& config) {
  constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, k64KiB = 64 * kKiB;
  const auto over = [](ByteCount size, uint64_t start) {
    return size.value > start ? size.value - start : 0;
  };
  std::array<uint8_t, kCmosBytes> cmos{};
  cmos[kCmosA] = 0x26;  // 32 kHz, 1024 Hz periodic rate
  cmos[kCmosB] = kRtc24Hours;
  cmos[kCmosEquipment] = 0x06;  // FPU and mouse port, no floppy
  put(cmos, kCmosBaseMemory, 2, 640);
  put(cmos, kCmosExtendedMemory, 2, over(config.memory_under_4g, kMiB) / kKiB);
  put(cmos, kCmosExtendedMemory2, 2, over(config.memory_under_4g, kMiB) / kKiB);
  put(cmos, kCmosMemoryOver16M, 2, over(config.memory_under_4g, 16 * kMiB) / k64KiB);
  put(cmos, kCmosMemoryOver4G, 3, config.memory_over_4g.value / k64KiB);
  put(cmos, kCmosVcpus, 1, config.vcpus - 1);
  unsigned sum = 0;
  for (size_t i = 0x10; i < kCmosChecksum; ++i) sum += cmos[i];
  cmos[kCmosChecksum] = static_cast<uint8_t>(sum >> 8);
  cmos[kCmosChecksum + 1] = static_cast<uint8_t>(sum);
  return cmos;
}

}  // namespace

RtcCmos::RtcCmos(const RtcConfig& config, WallTimer& timer, vmm::IrqLine& irq)
    : timer_(timer), irq_(irq) {
  state_.cmos = initial_cmos(config);
  state_.computed = timer_.now();
  timer_.start([this] { on_alarm(); });
}

RtcCmos::~RtcCmos() {
  timer_.stop();
}

void RtcCmos::read(uint64_t offset, std::span<std::byte> data) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    // The index port cannot be read back.
    const bool is_data = offset + i == 1;
    data[i] = is_data ? std::byte{read_cmos_locked(state_.index % kCmosBytes)} : std::byte{0xff};
  }
  update_irq_locked();
}

void RtcCmos::write(uint64_t offset, std::span<const std::byte> data) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    const auto value = std::to_integer<uint8_t>(data[i]);
    if (offset + i == 0) {
      state_.index = value;
    } else {
      write_cmos_locked(state_.index % kCmosBytes, value);
    }
  }
  update_irq_locked();
}

uint8_t RtcCmos::read_cmos_locked(uint8_t index) {
  if (is_time(index) && !state_.stopped()) {
    RtcCmosState shown;
    shown.hold_time(to_registers(floor<seconds>(time_locked()), state_.format()));
    return shown.cmos[index];
  }
  if (index == kCmosA) {
    const bool soon = part_of_second(time_locked()) >= seconds(1) - kUpdateWarning;
    return state_.cmos[kCmosA] | (soon && !state_.stopped() ? kRtcUpdateInProgress : 0);
  }
  if (index == kCmosC) {
    catch_up_locked();
    const uint8_t value = state_.cmos[kCmosC] | (irq_pending_locked() ? kRtcIrq : 0);
    state_.cmos[kCmosC] = 0;  // "Register C": reading clears it
    return value;
  }
  return index == kCmosD ? 0x80 : state_.cmos[index];  // "Register D", VRT: the battery is good
}

void RtcCmos::write_cmos_locked(uint8_t index, uint8_t value) {
  if (index == kCmosC || index == kCmosD) return;  // read-only
  catch_up_locked();
  if (index == kCmosA) {
    write_a_locked(value);
  } else if (index == kCmosB) {
    write_b_locked(value);
  } else if (is_time(index) && !state_.stopped()) {
    write_time_locked(index, value);
  } else {
    state_.cmos[index] = value;
  }
}

void RtcCmos::write_a_locked(uint8_t value) {
  const bool was_stopped = state_.stopped();
  const bool was_reset = state_.divider_reset();
  const RtcRegisters shown = to_registers(floor<seconds>(time_locked()), state_.format());
  state_.cmos[kCmosA] = value & ~kRtcUpdateInProgress;
  if (!was_stopped && state_.stopped()) state_.hold_time(shown);
  if (was_reset && !state_.divider_reset()) {
    state_.offset += kAfterDividerReset - part_of_second(time_locked());
    state_.computed = time_locked();
  }
  if (was_stopped && !state_.stopped()) {
    set_time_locked(from_registers(state_.held_time(), state_.format()));
  }
}

void RtcCmos::write_b_locked(uint8_t value) {
  const bool was_stopped = state_.stopped();
  const RtcRegisters shown = to_registers(floor<seconds>(time_locked()), state_.format());
  // "Register B", UIE: cleared when SET goes high.
  if ((value & kRtcSet) != 0) value &= ~kRtcUpdate;
  state_.cmos[kCmosB] = value;
  if (!was_stopped && state_.stopped()) state_.hold_time(shown);
  if (was_stopped && !state_.stopped()) {
    set_time_locked(from_registers(state_.held_time(), state_.format()));
  }
}

void RtcCmos::write_time_locked(uint8_t index, uint8_t value) {
  RtcCmosState changed;
  changed.hold_time(to_registers(floor<seconds>(time_locked()), state_.format()));
  changed.cmos[index] = value;
  set_time_locked(from_registers(changed.held_time(), state_.format()));
}

void RtcCmos::set_time_locked(seconds time) {
  state_.offset += time - floor<seconds>(time_locked());
  state_.computed = time_locked();
}

void RtcCmos::catch_up_locked() {
  const Microseconds from = state_.computed;
  const Microseconds to = time_locked();
  state_.computed = to;
  if (to <= from) return;  // the host's clock was set back
  uint8_t& flags = state_.cmos[kCmosC];
  const bool new_second = floor<seconds>(from) != floor<seconds>(to);
  if (!state_.stopped() && new_second) {
    flags |= kRtcUpdate;
    const RtcAlarm alarm{state_.cmos[kCmosSecondAlarm], state_.cmos[kCmosMinuteAlarm],
                         state_.cmos[kCmosHourAlarm]};
    const auto next = next_alarm(floor<seconds>(from), alarm, state_.format());
    if (next && *next <= to) flags |= kRtcAlarm;
  }
  const int64_t hz = periodic_hz(state_.cmos[kCmosA]);
  if (hz != 0 && !state_.divider_reset() &&
      (new_second || periodic_ticks(from, hz) != periodic_ticks(to, hz))) {
    flags |= kRtcPeriodic;
  }
}

std::optional<Microseconds> RtcCmos::next_interrupt_locked() const {
  const uint8_t enabled = state_.cmos[kCmosB] & kRtcFlags;
  const seconds second = floor<seconds>(state_.computed);
  std::optional<Microseconds> next;
  const auto consider = [&next](Microseconds at) { next = next ? std::min(*next, at) : at; };
  if ((enabled & kRtcUpdate) != 0 && !state_.stopped()) consider(second + seconds(1));
  if ((enabled & kRtcAlarm) != 0 && !state_.stopped()) {
    const RtcAlarm alarm{state_.cmos[kCmosSecondAlarm], state_.cmos[kCmosMinuteAlarm],
                         state_.cmos[kCmosHourAlarm]};
    if (const auto at = next_alarm(second, alarm, state_.format())) consider(*at);
  }
  const int64_t hz = periodic_hz(state_.cmos[kCmosA]);
  if ((enabled & kRtcPeriodic) != 0 && hz != 0 && !state_.divider_reset()) {
    const int64_t tick = periodic_ticks(state_.computed, hz) + 1;
    consider(second + Microseconds((tick * 1'000'000 + hz - 1) / hz));
  }
  return next;
}

bool RtcCmos::irq_pending_locked() const {
  return (state_.cmos[kCmosB] & state_.cmos[kCmosC] & kRtcFlags) != 0;
}

void RtcCmos::update_irq_locked() {
  const bool level = irq_pending_locked();
  irq_.set(level);
  // While the line is up nothing can be added to it: the timer is needed again after register C
  // was read, which comes through here too.
  if (level || quiesced_ || (state_.cmos[kCmosB] & kRtcFlags) == 0) return;
  const auto next = next_interrupt_locked();
  if (!next) return;
  const Microseconds at = *next - state_.offset;
  if (armed_for_ == at) return;
  armed_for_ = at;
  timer_.arm(at);
}

void RtcCmos::on_alarm() {
  const std::lock_guard lock(mutex_);
  armed_for_.reset();
  if (quiesced_) return;
  catch_up_locked();
  update_irq_locked();
}

void RtcCmos::quiesce() {
  const std::lock_guard lock(mutex_);
  quiesced_ = true;
}

void RtcCmos::resume() {
  const std::lock_guard lock(mutex_);
  quiesced_ = false;
  catch_up_locked();
  if (loaded_) {
    loaded_ = false;
    irq_.set_after_load(irq_pending_locked());
  }
  update_irq_locked();
}

void RtcCmos::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  encode(state_, out);
}

Result<> RtcCmos::load(ByteReader& in, uint16_t /*version*/) {
  GODWIT_ASSIGN(const RtcCmosState state, decode_rtc_cmos(in));
  const std::lock_guard lock(mutex_);
  state_ = state;
  loaded_ = true;
  return {};
}

}  // namespace godwit::devices
