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
//   6 | pci-root     | 0xcf8..0xcff       |     only with one of those below; also ECAM and window
//     | virtio-blk   | PCI                | MSI-X, one for each --disk
//     | virtio-net   | PCI                | MSI-X, one for each --net
//     | virtio-rng, -console, -vsock,        |
//     | -balloon     | PCI                | MSI-X
//
// PCI devices have the slots 1, 2, ... in this order. The order, the types and the instances are
// part of the wire. Port 0x61 and the PIT's 0x40..0x43 are KVM's own (KVM_CREATE_PIT2 with
// KVM_PIT_SPEAKER_DUMMY).
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/block/config.h"
#include "devices/console/config.h"
#include "devices/net/net_port.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/model.h"
#include "devices/virtio/vsock/vsock.h"
#include "vmm/base/error.h"
#include "vmm/io/io_handler.h"
#include "vmm/machine.h"
#include "vmm/vm.h"

namespace godwit::devices {

namespace virtio {
class Block;
class Net;
}  // namespace virtio

struct BoardConfig {
  ConsoleConfig serial;  // COM1
  std::vector<DiskConfig> disks;
  std::vector<NetConfig> nets;
  bool rng = false;
  std::optional<ConsoleConfig> virtio_console;
  std::optional<virtio::VsockConfig> vsock;
  std::optional<virtio::BalloonConfig> balloon;
};

// Whether all is there on this host that the options name, apart from files that are to be made
// for a guest (create=on) and can be. As BoardDevices::open(), whose errors they are.
Result<> check_devices(const BoardConfig& config, const std::vector<NetPort>& nets);

// What every board has, in its order.
std::vector<vmm::DeviceDescription> board_devices();

// The virtio devices of a board, with what they need of the host already open. They exist before
// the machine does, so that what is missing on this host is known before a guest comes.
class BoardDevices {
 public:
  // `nets`: the network interfaces, if they are open already (open_net_ports(),
  // Board::net_ports()). `volumes`: the disks whose content the guest that arrives brings along, by
  // their ids (IncomingFile). Errors name the option and what is wrong with it.
  static Result<BoardDevices> open(const BoardConfig& config,
                                   std::optional<std::vector<NetPort>> nets = {},
                                   const std::vector<vmm::VolumeDescription>& volumes = {});
  // All devices of the board, in their order.
  [[nodiscard]] std::vector<vmm::DeviceDescription> describe() const;

 private:
  friend class Board;
  std::vector<std::unique_ptr<virtio::Model>> models_;
};

// Turns on in `config` the devices that need nothing of the host (virtio-rng, -balloon, -console to
// nowhere), as far as the guest that is to come has them; what is not said of its balloon is as it
// is there.
void adopt_devices(const std::vector<vmm::DeviceDescription>& source, BoardConfig& config);

// Why a guest with the devices `source` cannot run on a machine with the devices `here`, one
// sentence per difference, each naming the device; empty when it can. An older state version at
// the source is no difference: it can be loaded.
std::vector<std::string> compare_devices(const std::vector<vmm::DeviceDescription>& source,
                                         const std::vector<vmm::DeviceDescription>& here);

// Order of use: Vm::create(); Board::create(); Vm::resume() (which resumes the devices); at the end
// Vm::shut_down(); shut_down(); then both may go, in any order.
class Board {
 public:
  struct Parts;
  // Opens the console, makes the devices and attaches them. `vm` has not run yet. `arriving`: its
  // guest still runs elsewhere. `console`: the one of a board that was here before, instead of a
  // new one. Errors: the console's (see open_console); a disk that another guest has.
  static Result<std::unique_ptr<Board>> create(vmm::Vm& vm, const BoardConfig& config,
                                               BoardDevices devices, vmm::GuestEvents& events,
                                               bool arriving = false,
                                               std::unique_ptr<ConsoleBackend> console = nullptr);
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  // Where a user finds the serial console: the pty's name, the socket, the file; else empty.
  [[nodiscard]] std::string console_path() const;
  // The same of virtio-console.
  [[nodiscard]] std::string virtio_console_path() const;
  [[nodiscard]] ConsoleCounters console_counters() const;
  // False: the guest has not enabled the button's event, so nothing was pressed. Any thread.
  bool press_power_button();

  // Puts the ACPI tables that describe this board into guest memory, before a guest boots; where
  // their RSDP is goes to the kernel (BootRequest::acpi_rsdp). Errors: no RAM there.
  Result<Gpa> write_firmware_tables(vmm::GuestMemory& memory) const;

  // What the next board of this guest needs to have the same network interfaces.
  [[nodiscard]] std::vector<NetPort> net_ports() const;

  // Ends the board of a machine whose place another one takes. The console, with what it has not
  // sent yet and whoever is connected to it, goes on to that one's board. No vCPU may run any more.
  static std::unique_ptr<ConsoleBackend> retire(std::unique_ptr<Board> board);
  // For what they tell users; they live as long as the board.
  [[nodiscard]] std::vector<const virtio::Block*> disks() const;
  [[nodiscard]] std::vector<const virtio::Net*> networks() const;
  // Null without one.
  [[nodiscard]] virtio::Balloon* balloon();
  [[nodiscard]] vmm::FreePageHints* free_page_hints();
  // The disks that are this host's own; they live as long as the board.
  [[nodiscard]] std::vector<vmm::StorageVolume*> volumes();

  // Ends the devices' own threads; no interrupt is raised afterwards. No vCPU may run any more.
  // `unsent`: kSend when the guest ended here, kDiscard when it runs elsewhere and took its unsent
  // console output along. Idempotent. The destructor sends, unless the devices are quiesced.
  void shut_down(Unsent unsent) noexcept;

 private:
  explicit Board(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace godwit::devices
