// The PC's real-time clock and CMOS memory: an MC146818 (Motorola MC146818A datasheet; registers
// are cited by its names) behind the index port 0x70 and the data port 0x71, interrupt 8.
//
// Time is the host's wall clock (UTC) plus an offset that the guest sets by setting the clock. All
// three interrupts work. The flags of register C are worked out when the guest looks at them; the
// host's timer runs only while an enabled interrupt is still to come.
// Differences: the day of the week always follows from the date; the square wave output and
// daylight saving do nothing; the divider's other time bases count as the 32 kHz one; bit 7 of the
// index does not mask NMI.
// A migrated clock keeps its offset, so it is as right as the target's wall clock is. What came due
// in between (an alarm) is noticed at resume().
#pragma once
#include <mutex>
#include <optional>

#include "devices/irq_output.h"
#include "devices/rtc_cmos_state.h"
#include "devices/wall_timer.h"
#include "vmm/base/types.h"
#include "vmm/io/device.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices {

inline constexpr uint64_t kRtcPort = 0x70;
inline constexpr uint64_t kRtcPorts = 2;
inline constexpr uint32_t kRtcGsi = 8;

// What firmware would leave in CMOS.
struct RtcConfig {
  ByteCount memory_under_4g;  // from address 0 to the hole
  ByteCount memory_over_4g;
  uint32_t vcpus = 1;
};

class RtcCmos final : public vmm::Device, public vmm::IoHandler {
 public:
  // Quiet until resume(). The references outlive the device, which starts and stops the timer.
  RtcCmos(const RtcConfig& config, WallTimer& timer, vmm::IrqLine& irq);
  ~RtcCmos() override;
  RtcCmos(const RtcCmos&) = delete;
  RtcCmos& operator=(const RtcCmos&) = delete;

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

  [[nodiscard]] std::string_view type() const override { return "rtc-cmos"; }
  void quiesce() override;
  void resume() override;
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  uint8_t read_cmos_locked(uint8_t index);
  void write_cmos_locked(uint8_t index, uint8_t value);
  void write_a_locked(uint8_t value);
  void write_b_locked(uint8_t value);
  void write_time_locked(uint8_t index, uint8_t value);
  [[nodiscard]] Microseconds time_locked() const { return timer_.now() + state_.offset; }
  // Brings the flags of register C up to now; before anything changes that they depend on.
  void catch_up_locked();
  // The time that the clock shows becomes `time`; the phase of its seconds stays.
  void set_time_locked(std::chrono::seconds time);
  [[nodiscard]] std::optional<Microseconds> next_interrupt_locked() const;
  [[nodiscard]] bool irq_pending_locked() const;
  void update_irq_locked();
  void on_alarm();

  WallTimer& timer_;

  mutable std::mutex mutex_;
  RtcCmosState state_;
  bool quiesced_ = true;
  IrqOutput irq_;
  bool loaded_ = false;                    // since the last resume()
  std::optional<Microseconds> armed_for_;  // wall clock
};

}  // namespace godwit::devices
