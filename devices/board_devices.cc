#include <algorithm>

#include "devices/board.h"

namespace godwit::devices {
namespace {

using vmm::DeviceDescription;

bool same_device(const DeviceDescription& a, const DeviceDescription& b) {
  return a.type == b.type && a.instance == b.instance;
}

const DeviceDescription* find(const std::vector<DeviceDescription>& devices,
                              const DeviceDescription& wanted) {
  const auto it = std::find_if(devices.begin(), devices.end(),
                               [&](const auto& device) { return same_device(device, wanted); });
  return it == devices.end() ? nullptr : &*it;
}

}  // namespace

std::vector<DeviceDescription> board_devices() {
  return {
      {"serial-16550", 0, 1}, {"rtc-cmos", 0, 1},   {"i8042", 0, 1},
      {"acpi-pm", 0, 1},      {"debug-exit", 0, 1}, {"post-port", 0, 1},
  };
}

std::vector<std::string> compare_devices(const std::vector<DeviceDescription>& source,
                                         const std::vector<DeviceDescription>& here) {
  std::vector<std::string> differences;
  for (const DeviceDescription& device : source) {
    const DeviceDescription* own = find(here, device);
    if (own == nullptr) {
      differences.push_back(fmt::format("device {} #{}: the source has it, the target does not",
                                        device.type, device.instance));
    } else if (device.state_version > own->state_version) {
      differences.push_back(fmt::format(
          "device {} #{}: its state has version {} at the source, the target knows up to {}; "
          "update godwit at the target",
          device.type, device.instance, device.state_version, own->state_version));
    }
    if (std::count_if(source.begin(), source.end(),
                      [&](const auto& other) { return same_device(other, device); }) > 1) {
      differences.push_back(
          fmt::format("device {} #{}: the source names it twice", device.type, device.instance));
    }
  }
  for (const DeviceDescription& device : here) {
    if (find(source, device) != nullptr) continue;
    differences.push_back(fmt::format("device {} #{}: the target has it, the source does not",
                                      device.type, device.instance));
  }
  return differences;
}

}  // namespace godwit::devices
