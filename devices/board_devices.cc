#include <algorithm>
#include <map>

#include "devices/board.h"
#include "devices/pci/pci_spec.h"
#include "devices/places.h"
#include "devices/virtio/block.h"
#include "devices/virtio/console.h"
#include "devices/virtio/net.h"
#include "devices/virtio/rng.h"

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

// "key=value;..." as a map; what has no '=' is a key without a value.
std::map<std::string, std::string> parse_traits(std::string_view text) {
  std::map<std::string, std::string> traits;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const size_t equals = one.find('=');
    traits[std::string(one.substr(0, equals))] =
        equals == std::string_view::npos ? "" : std::string(one.substr(equals + 1));
  }
  return traits;
}

// What the target of a migration has to be told of.
std::string_view how_to_give(std::string_view type) {
  if (type == "virtio-blk") return "; give it to `godwit receive` with --disk";
  if (type == "virtio-net") return "; give it to `godwit receive` with --net";
  if (type == "virtio-vsock") return "; give it to `godwit receive` with --vsock";
  return "";
}

void compare_traits(const DeviceDescription& source, const DeviceDescription& here, bool same_set,
                    std::vector<std::string>& differences) {
  const auto theirs = parse_traits(source.traits);
  auto ours = parse_traits(here.traits);
  const auto differ = [&](const std::string& key, std::string_view at_source,
                          std::string_view at_target) {
    differences.push_back(fmt::format("device {} #{}: {} is {} at the source and {} at the target",
                                      source.type, source.instance, key, at_source, at_target));
  };
  for (const auto& [key, value] : theirs) {
    if (key == "slot" && !same_set) {
      ours.erase(key);  // follows from the devices that are missing before it
      continue;
    }
    const auto it = ours.find(key);
    if (it == ours.end()) {
      differ(key, value, "not there");
    } else if (it->second != value) {
      differ(key, value, it->second);
    }
    ours.erase(key);
  }
  for (const auto& [key, value] : ours) differ(key, "not there", value);
}

template <class Config>
Result<> check_ids(const std::vector<Config>& configs, std::string_view what) {
  for (size_t i = 0; i < configs.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (configs[i].id == configs[j].id)
        return make_error(Errc::kInvalidArgument,
                          "two {}s have the id {}: give one of them another", what, configs[i].id);
    }
  }
  return {};
}

Result<> check_consoles(const BoardConfig& config) {
  const bool both_on_stdio = config.virtio_console &&
                             config.virtio_console->kind == ConsoleKind::kStdio &&
                             config.serial.kind == ConsoleKind::kStdio;
  if (!both_on_stdio) return {};
  return make_error(Errc::kInvalidArgument,
                    "--virtio-console stdio: the serial port is on this terminal already; say "
                    "--serial null or another place for one of the two");
}

}  // namespace

std::vector<virtio::PciPlace> places_of(const std::vector<std::unique_ptr<virtio::Model>>& models) {
  std::vector<virtio::PciPlace> places;
  std::map<std::string_view, uint32_t> instances;
  unsigned slot = 1;
  for (const auto& model : models) places.push_back({slot++, instances[model->type()]++});
  return places;
}

Result<BoardDevices> BoardDevices::open(const BoardConfig& config,
                                        std::optional<std::vector<NetPort>> nets,
                                        const std::vector<vmm::VolumeDescription>& volumes) {
  BoardDevices devices;
  GODWIT_TRY(check_ids(config.disks, "disk"));
  for (const DiskConfig& disk : config.disks) {
    const auto comes = std::ranges::find(volumes, disk.id, &vmm::VolumeDescription::name);
    GODWIT_ASSIGN(Disk opened, open_disk(disk, comes == volumes.end() ? nullptr : &*comes));
    devices.models_.push_back(std::make_unique<virtio::Block>(std::move(opened)));
  }
  if (!nets) {
    GODWIT_ASSIGN(nets, open_net_ports(config.nets));
  }
  for (NetPort& net : *nets)
    devices.models_.push_back(std::make_unique<virtio::Net>(std::move(net)));
  if (config.rng) devices.models_.push_back(std::make_unique<virtio::Rng>());
  if (config.virtio_console) {
    GODWIT_TRY(check_consoles(config));
    auto console = open_console(*config.virtio_console);
    if (!console) return console.error().with_context("--virtio-console");
    devices.models_.push_back(std::make_unique<virtio::Console>(std::move(*console)));
  }
  if (config.vsock) {
    GODWIT_ASSIGN(auto vsock, virtio::Vsock::open(*config.vsock));
    devices.models_.push_back(std::move(vsock));
  }
  if (config.balloon) devices.models_.push_back(std::make_unique<virtio::Balloon>(*config.balloon));
  if (devices.models_.size() >= pci::kSlots)
    return make_error(Errc::kInvalidArgument, "{} virtio devices: there are slots for {}",
                      devices.models_.size(), pci::kSlots - 1);
  return devices;
}

Result<> check_devices(const BoardConfig& config, const std::vector<NetPort>& nets) {
  BoardConfig there = config;
  there.disks.clear();
  for (const DiskConfig& disk : config.disks) {
    GODWIT_ASSIGN(const bool awaited, awaits_content(disk));
    if (!awaited) there.disks.push_back(disk);
  }
  GODWIT_TRY(check_ids(config.disks, "disk"));
  GODWIT_TRY(BoardDevices::open(there, nets));
  return {};
}

std::vector<DeviceDescription> board_devices() {
  return {
      {"serial-16550", 0, 1, ""}, {"rtc-cmos", 0, 1, ""},   {"i8042", 0, 1, ""},
      {"acpi-pm", 0, 2, ""},      {"debug-exit", 0, 1, ""}, {"post-port", 0, 1, ""},
  };
}

std::vector<DeviceDescription> BoardDevices::describe() const {
  std::vector<DeviceDescription> all = board_devices();
  if (!models_.empty()) all.push_back({"pci-root", 0, 1, ""});
  const std::vector<virtio::PciPlace> places = places_of(models_);
  for (size_t i = 0; i < models_.size(); ++i) {
    all.push_back({std::string(models_[i]->type()), places[i].instance, models_[i]->state_version(),
                   virtio::traits_of(*models_[i], places[i])});
  }
  return all;
}

void adopt_devices(const std::vector<DeviceDescription>& source, BoardConfig& config) {
  for (const DeviceDescription& device : source) {
    if (device.type == "virtio-rng") config.rng = true;
    if (device.type == "virtio-balloon") {
      if (!config.balloon) config.balloon.emplace();
      if (!config.balloon->free_page_hint)
        config.balloon = virtio::balloon_of_traits(device.traits);
    }
    if (device.type == "virtio-console" && !config.virtio_console) config.virtio_console.emplace();
  }
}

std::vector<std::string> compare_devices(const std::vector<DeviceDescription>& source,
                                         const std::vector<DeviceDescription>& here) {
  std::vector<std::string> differences;
  const bool same_set = std::ranges::equal(source, here, same_device);
  for (const DeviceDescription& device : source) {
    const DeviceDescription* own = find(here, device);
    if (own == nullptr) {
      differences.push_back(fmt::format("device {} #{}: the source has it, the target does not{}",
                                        device.type, device.instance, how_to_give(device.type)));
    } else if (device.state_version > own->state_version) {
      differences.push_back(fmt::format(
          "device {} #{}: its state has version {} at the source, the target knows up to {}; "
          "update godwit at the target",
          device.type, device.instance, device.state_version, own->state_version));
    }
    if (own != nullptr) compare_traits(device, *own, same_set, differences);
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
