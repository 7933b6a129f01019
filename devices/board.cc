#include "devices/board.h"

#include "devices/acpi/firmware_tables.h"
#include "devices/acpi_pm.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/pci/root.h"
#include "devices/places.h"
#include "devices/port_window.h"
#include "devices/post_port.h"
#include "devices/rtc_cmos.h"
#include "devices/serial_16550.h"
#include "devices/virtio/block.h"
#include "devices/virtio/console.h"
#include "devices/virtio/net.h"
#include "devices/virtio/pci_device.h"
#include "vmm/base/check.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices {
namespace {

RtcConfig rtc_config(vmm::Vm& vm) {
  RtcConfig config;
  config.vcpus = vm.describe().vcpus;
  for (const vmm::MemoryRegion& region : vm.memory().regions()) {
    ByteCount& part = region.gpa < vmm::kHoleEnd ? config.memory_under_4g : config.memory_over_4g;
    part = part + region.size;
  }
  return config;
}

}  // namespace

// Declared in the order of use: what comes later uses what comes before.
struct Board::Parts {
  Parts(vmm::Vm& vm, std::unique_ptr<ConsoleBackend> backend, vmm::GuestEvents& events)
      : console(std::move(backend)),
        serial_irq(vm.irq_line(kCom1Gsi)),
        rtc_irq(vm.irq_line(kRtcGsi)),
        keyboard_irq(vm.irq_line(kKeyboardGsi)),
        sci(vm.irq_line(kSciGsi)),
        serial(*console, *serial_irq),
        rtc(rtc_config(vm), timer, *rtc_irq),
        i8042(events, *keyboard_irq),
        acpi_pm(events, *sci),
        debug_exit(events) {
    firmware.vcpus = vm.describe().vcpus;
  }

  template <class M>
  [[nodiscard]] std::vector<const M*> models_of() const {
    std::vector<const M*> all;
    for (const auto& device : virtio) {
      if (const auto* const model = dynamic_cast<const M*>(&device->model())) all.push_back(model);
    }
    return all;
  }

  acpi::FirmwareConfig firmware;  // what the ACPI tables tell
  std::unique_ptr<ConsoleBackend> console;
  HostWallTimer timer;
  std::unique_ptr<vmm::IrqLine> serial_irq;
  std::unique_ptr<vmm::IrqLine> rtc_irq;
  std::unique_ptr<vmm::IrqLine> keyboard_irq;
  std::unique_ptr<vmm::IrqLine> sci;
  Serial16550 serial;
  RtcCmos rtc;
  I8042 i8042;
  AcpiPm acpi_pm;
  DebugExit debug_exit;
  PostPort post_port;
  // PCI: there when there is a device on it.
  std::unique_ptr<vmm::MsiSink> msi;
  std::unique_ptr<vmm::Doorbells> doorbells;
  std::unique_ptr<pci::Root> pci;
  std::vector<std::unique_ptr<virtio::PciDevice>> virtio;
  std::vector<const virtio::Net*> nets;  // among those
  PortWindow i8042_data{i8042, kI8042DataPort};
  PortWindow i8042_command{i8042, kI8042CommandPort};
  PortWindow system_control{i8042, kSystemControlPort};
};

namespace {

Result<> add_virtio(Board::Parts& parts, vmm::Vm& vm,
                    std::vector<std::unique_ptr<virtio::Model>> models, bool arriving) {
  if (models.empty()) return {};
  parts.msi = vm.msi_sink();
  parts.doorbells = vm.doorbells();
  parts.pci = std::make_unique<pci::Root>();
  parts.pci->attach(vm.port_bus(), vm.mmio_bus());
  parts.firmware.pci = true;
  const std::vector<virtio::PciPlace> places = places_of(models);
  const uint64_t guest_id = vm.describe().guest_id;
  for (size_t i = 0; i < models.size(); ++i) {
    GODWIT_TRY(models[i]->admit(guest_id, arriving));
    if (const auto* net = dynamic_cast<const virtio::Net*>(models[i].get()))
      parts.nets.push_back(net);
    parts.virtio.push_back(std::make_unique<virtio::PciDevice>(
        std::move(models[i]), places[i], vm.memory(), *parts.msi, *parts.doorbells));
    parts.pci->add(places[i].slot, *parts.virtio.back());
  }
  return {};
}

}  // namespace

Board::Board(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Result<std::unique_ptr<Board>> Board::create(vmm::Vm& vm, const BoardConfig& config,
                                             BoardDevices devices, vmm::GuestEvents& events,
                                             bool arriving,
                                             std::unique_ptr<ConsoleBackend> console) {
  const std::vector<vmm::DeviceDescription> expected = devices.describe();
  if (!console) {
    GODWIT_ASSIGN(console, open_console(config.serial));
  }
  console->quiesce();  // until the machine runs
  auto parts = std::make_unique<Parts>(vm, std::move(console), events);
  vmm::IoBus& ports = vm.port_bus();
  ports.attach(kCom1Port, kSerialPorts, parts->serial);
  ports.attach(kRtcPort, kRtcPorts, parts->rtc);
  ports.attach(kI8042DataPort, 1, parts->i8042_data);
  ports.attach(kI8042CommandPort, 1, parts->i8042_command);
  ports.attach(kSystemControlPort, 1, parts->system_control);
  ports.attach(kAcpiPort, kAcpiPorts, parts->acpi_pm);
  ports.attach(kDebugExitPort, kDebugExitPorts, parts->debug_exit);
  ports.attach(kPostPort, kPostPorts, parts->post_port);

  for (vmm::Device* device :
       std::initializer_list<vmm::Device*>{&parts->serial, &parts->rtc, &parts->i8042,
                                           &parts->acpi_pm, &parts->debug_exit, &parts->post_port})
    vm.add_device(*device);
  GODWIT_TRY(add_virtio(*parts, vm, std::move(devices.models_), arriving));
  if (parts->pci) vm.add_device(*parts->pci);
  for (const auto& device : parts->virtio) vm.add_device(*device);
  GODWIT_CHECK(vm.describe().devices == expected, "BoardDevices says what the board has");
  vm.set_events(events);
  return std::unique_ptr<Board>(new Board(std::move(parts)));
}

Board::~Board() {
  parts_->timer.stop();
}

std::string Board::console_path() const {
  return parts_->console->path();
}

ConsoleCounters Board::console_counters() const {
  return parts_->console->counters();
}

bool Board::press_power_button() {
  return parts_->acpi_pm.press_power_button();
}

Result<Gpa> Board::write_firmware_tables(vmm::GuestMemory& memory) const {
  const auto tables = acpi::firmware_tables(parts_->firmware, vmm::kAcpiTables);
  GODWIT_TRY(memory.write(vmm::kAcpiTables, tables));
  return vmm::kAcpiTables;
}

std::vector<NetPort> Board::net_ports() const {
  std::vector<NetPort> ports;
  for (const virtio::Net* net : parts_->nets) ports.push_back(net->port());
  return ports;
}

std::unique_ptr<ConsoleBackend> Board::retire(std::unique_ptr<Board> board) {
  auto console = std::move(board->parts_->console);
  board.reset();  // its serial port lets go of the console
  return console;
}

std::string Board::virtio_console_path() const {
  for (const auto& device : parts_->virtio) {
    if (const auto* const console = dynamic_cast<virtio::Console*>(&device->model()))
      return console->backend().path();
  }
  return {};
}

std::vector<const virtio::Block*> Board::disks() const {
  return parts_->models_of<virtio::Block>();
}

std::vector<const virtio::Net*> Board::networks() const {
  return parts_->models_of<virtio::Net>();
}

virtio::Balloon* Board::balloon() {
  for (const auto& device : parts_->virtio) {
    if (auto* const balloon = dynamic_cast<virtio::Balloon*>(&device->model())) return balloon;
  }
  return nullptr;
}

vmm::FreePageHints* Board::free_page_hints() {
  virtio::Balloon* const its = balloon();
  return its == nullptr ? nullptr : its->free_page_hints();
}

std::vector<vmm::StorageVolume*> Board::volumes() {
  std::vector<vmm::StorageVolume*> all;
  for (const auto& device : parts_->virtio) {
    auto* const block = dynamic_cast<virtio::Block*>(&device->model());
    if (block != nullptr && block->volume() != nullptr) all.push_back(block->volume());
  }
  return all;
}

void Board::shut_down(Unsent unsent) noexcept {
  parts_->console->shut_down(unsent);
  for (const auto& device : parts_->virtio) device->model().shut_down(unsent == Unsent::kDiscard);
  parts_->timer.stop();
}

}  // namespace godwit::devices
