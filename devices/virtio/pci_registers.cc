// The registers of a virtio PCI function.
#include <algorithm>
#include <bit>

#include "devices/virtio/pci_device.h"
#include "devices/virtio/pci_layout.h"
#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {
namespace {

uint64_t little_endian(std::span<const std::byte> data) {
  uint64_t value = 0;
  for (size_t i = 0; i < data.size() && i < 8; ++i)
    value |= std::to_integer<uint64_t>(data[i]) << (8 * i);
  return value;
}

class Structure {
 public:
  void put(uint32_t offset, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) bytes_[offset + i] = static_cast<std::byte>(value >> (8 * i));
  }
  void read(uint32_t offset, std::span<std::byte> data) const {
    for (size_t i = 0; i < data.size(); ++i)
      data[i] = offset + i < bytes_.size() ? bytes_[offset + i] : std::byte{0};
  }

 private:
  std::array<std::byte, kCommonSize> bytes_{};
};

void set_half(uint64_t& field, bool high, uint32_t value) {
  field =
      high ? (field & 0xffffffff) | uint64_t{value} << 32 : (field & ~uint64_t{0xffffffff}) | value;
}

}  // namespace

// The window: an access through configuration space to any place of a BAR (4.1.4.9).
bool PciDevice::access_window(uint32_t offset, size_t size, unsigned& bar, uint32_t& at) const {
  if (offset != window_capability_ + kWindowData) return false;
  bar = config_.get8(window_capability_ + kWindowBar);
  at = config_.get32(window_capability_ + kWindowOffset);
  const uint32_t length = config_.get32(window_capability_ + kWindowLength);
  return bar < pci::kBars && config_.bar(bar).size != 0 && length == size && at % size == 0 &&
         at < config_.bar(bar).size;
}

void PciDevice::read_config(uint32_t offset, std::span<std::byte> data) {
  unsigned bar = 0;
  uint32_t at = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!access_window(offset, data.size(), bar, at)) return config_.read(offset, data);
  }
  read_bar(bar, at, data);
}

void PciDevice::write_config(uint32_t offset, std::span<const std::byte> data) {
  unsigned bar = 0;
  uint32_t at = 0;
  {
    const std::lock_guard lock(mutex_);
    config_.write(offset, data);
    msix_.set_control(config_.get16(msix_capability_ + 2u));
    place_doorbells_locked();
    if (!access_window(offset, data.size(), bar, at)) return;
  }
  write_bar(bar, at, data);
}

// Which BAR answers there, if one does.
std::optional<PciDevice::BarPlace> PciDevice::find_bar(uint64_t address) const {
  const std::lock_guard lock(mutex_);
  if (!config_.memory_enabled()) return std::nullopt;
  for (const unsigned bar : {kRegisterBar, kMsixBar}) {
    const auto place = config_.bar(bar);
    if (address >= place.address && address - place.address < place.size)
      return BarPlace{bar, static_cast<uint32_t>(address - place.address)};
  }
  return std::nullopt;
}

bool PciDevice::read_memory(uint64_t address, std::span<std::byte> data) {
  const auto place = find_bar(address);
  if (place) read_bar(place->bar, place->offset, data);
  return place.has_value();
}

bool PciDevice::write_memory(uint64_t address, std::span<const std::byte> data) {
  const auto place = find_bar(address);
  if (place) write_bar(place->bar, place->offset, data);
  return place.has_value();
}

void PciDevice::read_bar(unsigned bar, uint32_t offset, std::span<std::byte> data) {
  std::fill(data.begin(), data.end(), std::byte{0});
  if (bar == kMsixBar) {
    if (offset < kPendingOffset) return msix_.read_table(offset, data);
    return msix_.read_pending(offset - kPendingOffset, data);
  }
  const uint32_t at = offset % kAreaSize;
  switch (offset - at) {
    case kCommonOffset:
      return read_common(at, data);
    case kIsrOffset:
      if (at == 0 && !data.empty()) data[0] = std::byte{isr_.exchange(0)};
      return;
    case kDeviceOffset:
      return model_->read_config(at, data);
    default:
      return;  // doorbells read as nothing
  }
}

void PciDevice::write_bar(unsigned bar, uint32_t offset, std::span<const std::byte> data) {
  if (bar == kMsixBar) {
    if (offset < kPendingOffset) msix_.write_table(offset, data);
    return;
  }
  const uint32_t at = offset % kAreaSize;
  switch (offset - at) {
    case kCommonOffset:
      return write_common(at, little_endian(data), data.size());
    case kDeviceOffset:
      return model_->write_config(at, data);
    case kNotifyOffset:
      return notify(at);
    default:
      return;
  }
}

// Where KVM does not ring for the guest.
void PciDevice::notify(uint32_t offset) {
  const uint32_t index = offset / kNotifyStride;
  if (index < queues_.size()) ring_eventfd(queues_[index].doorbell.get());
}

void PciDevice::read_common(uint32_t offset, std::span<std::byte> data) {
  const std::lock_guard lock(mutex_);
  Structure regs;
  const auto word = [](uint64_t features, uint32_t select) {
    return select < 2 ? features >> (32 * select) & 0xffffffff : 0;
  };
  regs.put(kDeviceFeatureSelect, device_feature_select_, 4);
  regs.put(kDeviceFeature, word(offered(), device_feature_select_), 4);
  regs.put(kDriverFeatureSelect, driver_feature_select_, 4);
  regs.put(kDriverFeature, word(driver_features_, driver_feature_select_), 4);
  regs.put(kConfigVector, config_vector_.load(), 2);
  regs.put(kNumQueues, queues_.size(), 2);
  regs.put(kDeviceStatus, status_.load(), 1);
  regs.put(kGeneration, generation_.load(), 1);
  regs.put(kQueueSelect, queue_select_, 2);
  if (queue_select_ < queues_.size()) {
    const QueueSlot& slot = queues_[queue_select_];
    regs.put(kQueueSize, slot.setup.size, 2);
    regs.put(kQueueVector, slot.vector, 2);
    regs.put(kQueueEnable, slot.setup.enabled ? 1 : 0, 2);
    regs.put(kQueueNotifyOff, queue_select_, 2);
    regs.put(kQueueDescriptors, slot.setup.descriptors, 8);
    regs.put(kQueueDriver, slot.setup.driver_area, 8);
    regs.put(kQueueDevice, slot.setup.device_area, 8);
  }
  regs.read(offset, data);
}

// A field is written as a whole, those of 64 bits in halves too; anything else is ignored.
void PciDevice::write_common(uint32_t offset, uint64_t value, size_t size) {
  const std::lock_guard lock(mutex_);
  if (offset == kDeviceStatus && size == 1) return write_status(static_cast<uint8_t>(value));
  if (offset == kQueueSelect && size == 2) {
    queue_select_ = static_cast<uint16_t>(value);
  } else if (offset == kConfigVector && size == 2) {
    config_vector_.store(value < msix_.vectors() ? static_cast<uint16_t>(value) : kNoVector);
  } else if (offset == kDeviceFeatureSelect && size == 4) {
    device_feature_select_ = static_cast<uint32_t>(value);
  } else if (offset == kDriverFeatureSelect && size == 4) {
    driver_feature_select_ = static_cast<uint32_t>(value);
  } else if (offset == kDriverFeature && size == 4) {
    // Settled once the device has taken them.
    if ((status_.load() & kFeaturesOk) == 0 && driver_feature_select_ < 2)
      set_half(driver_features_, driver_feature_select_ == 1, static_cast<uint32_t>(value));
  } else if (offset >= kQueueSize) {
    write_queue_field(offset, value, size);
  }
}

void PciDevice::write_queue_field(uint32_t offset, uint64_t value, size_t size) {
  if (queue_select_ >= queues_.size()) return;
  QueueSlot& slot = queues_[queue_select_];
  // What a running queue works with stays as it is.
  if (started_) return;
  if (offset == kQueueVector && size == 2) {
    slot.vector = value < msix_.vectors() ? static_cast<uint16_t>(value) : kNoVector;
    return;
  }
  if (slot.setup.enabled) return;
  const auto half = static_cast<uint32_t>(value);
  const bool high = offset % 8 == 4;
  if (offset == kQueueSize && size == 2) {
    const auto wanted = static_cast<uint16_t>(value);
    if (std::has_single_bit(wanted) && wanted <= slot.max_size) slot.setup.size = wanted;
  } else if (offset == kQueueEnable && size == 2) {
    slot.setup.enabled = value == 1;
  } else if (offset >= kQueueDescriptors && offset < kCommonSize && offset % 4 == 0) {
    uint64_t* const areas[] = {&slot.setup.descriptors, &slot.setup.driver_area,
                               &slot.setup.device_area};
    uint64_t& area = *areas[(offset - kQueueDescriptors) / 8];
    if (size == 4) set_half(area, high, half);
    if (size == 8 && !high) area = value;
  }
}

void PciDevice::place_doorbells_locked() {
  const auto bar = config_.bar(kRegisterBar);
  std::optional<uint64_t> wanted;
  if (started_ && config_.memory_enabled()) wanted = uint64_t{bar.address} + kNotifyOffset;
  if (wanted == doorbells_at_) return;
  remove_doorbells_locked();
  if (!wanted) return;
  for (uint32_t q = 0; q < queues_.size(); ++q)
    doorbells_.attach(*wanted + uint64_t{q} * kNotifyStride, queues_[q].doorbell.get());
  doorbells_at_ = wanted;
}

void PciDevice::remove_doorbells_locked() noexcept {
  if (!doorbells_at_) return;
  for (uint32_t q = 0; q < queues_.size(); ++q)
    doorbells_.detach(*doorbells_at_ + uint64_t{q} * kNotifyStride, queues_[q].doorbell.get());
  doorbells_at_.reset();
}

}  // namespace godwit::devices::virtio
