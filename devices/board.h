// The one place that wires a machine together: every device of a Godwit machine, its ports, its
// interrupt and its place in the order of saving.
//
//   # | type         | ports              | GSI
//   0 | serial-16550 | 0x3f8..0x3ff       | 4
//   1 | rtc-cmos     | 0x70, 0x71         | 8
//   2 | i8042        | 0x60, 0x64, 0x92   | 1
//   3 | acpi-pm      | 0x600..0x60f       | 9
//   4 | debug-exit   | 0xf4..0xf7         |
//   5 | post-port    | 0x80               |
//
// The order, the types and the instances are part of the wire. Port 0x61 and the PIT's 0x40..0x43
// are KVM's own (KVM_CREATE_PIT2 with KVM_PIT_SPEAKER_DUMMY).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "devices/console/config.h"
#include "vmm/base/error.h"
#include "vmm/io/io_handler.h"
#include "vmm/machine.h"
#include "vmm/vm.h"

namespace godwit::devices {

struct BoardConfig {
  ConsoleConfig serial;  // COM1
};

// The devices of every board of this version, in their order.
std::vector<vmm::DeviceDescription> board_devices();

// Why a guest with the devices `source` cannot run on a machine with the devices `here`, one
// sentence per difference, each naming the device; empty when it can. An older state version at
// the source is no difference: it can be loaded.
std::vector<std::string> compare_devices(const std::vector<vmm::DeviceDescription>& source,
                                         const std::vector<vmm::DeviceDescription>& here);

// Order of use: Vm::create(); Board::create(); Vm::resume() (which resumes the devices); at the end
// Vm::shut_down(); shut_down(); then both may go, in any order.
class Board {
 public:
  // Opens the console, makes the devices and attaches them. `vm` has not run yet. Errors: the
  // console's (see open_console).
  static Result<std::unique_ptr<Board>> create(vmm::Vm& vm, const BoardConfig& config,
                                               vmm::GuestEvents& events);
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  // Where a user finds the serial console: the pty's name, the socket, the file; else empty.
  [[nodiscard]] std::string console_path() const;
  [[nodiscard]] ConsoleCounters console_counters() const;
  // Any thread.
  void press_power_button();

  // Ends the devices' own threads; no interrupt is raised afterwards. No vCPU may run any more.
  // `unsent`: kSend when the guest ended here, kDiscard when it runs elsewhere and took its unsent
  // console output along. Idempotent. The destructor sends, unless the devices are quiesced.
  void shut_down(Unsent unsent) noexcept;

 private:
  struct Parts;
  explicit Board(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace godwit::devices
