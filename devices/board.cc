#include "devices/board.h"

#include "devices/acpi_pm.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/port_window.h"
#include "devices/post_port.h"
#include "devices/rtc_cmos.h"
#include "devices/serial_16550.h"
#include "vmm/base/check.h"

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
        debug_exit(events) {}

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
  PortWindow i8042_data{i8042, kI8042DataPort};
  PortWindow i8042_command{i8042, kI8042CommandPort};
  PortWindow system_control{i8042, kSystemControlPort};
};

Board::Board(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Result<std::unique_ptr<Board>> Board::create(vmm::Vm& vm, const BoardConfig& config,
                                             vmm::GuestEvents& events) {
  GODWIT_ASSIGN(auto console, open_console(config.serial));
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

  const std::vector<vmm::DeviceDescription> expected = board_devices();
  size_t index = 0;
  for (vmm::Device* device : std::initializer_list<vmm::Device*>{
           &parts->serial, &parts->rtc, &parts->i8042, &parts->acpi_pm, &parts->debug_exit,
           &parts->post_port}) {
    const vmm::DeviceDescription actual{std::string(device->type()), device->instance(),
                                        device->state_version()};
    GODWIT_CHECK(index < expected.size() && actual == expected[index],
                 "board_devices() says what the board has");
    ++index;
    vm.add_device(*device);
  }
  GODWIT_CHECK(index == expected.size(), "board_devices() says what the board has");
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

void Board::press_power_button() {
  parts_->acpi_pm.press_power_button();
}

void Board::shut_down(Unsent unsent) noexcept {
  parts_->console->shut_down(unsent);
  parts_->timer.stop();
}

}  // namespace godwit::devices
