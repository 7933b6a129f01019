#include "tests/virtio/driver.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "devices/virtio/pci_layout.h"
#include "devices/virtio/spec.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::virtio {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);
constexpr uint64_t kMsiAddress = 0xfee00000;

}  // namespace

void FakeMsi::signal(uint64_t address, uint32_t data) {
  const std::lock_guard lock(mutex_);
  ++counts_[data];
  address_ = address;
  changed_.notify_all();
}

int FakeMsi::count(uint32_t data) const {
  const std::lock_guard lock(mutex_);
  const auto it = counts_.find(data);
  return it == counts_.end() ? 0 : it->second;
}

bool FakeMsi::wait_for(uint32_t data, int times) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] {
    const auto it = counts_.find(data);
    return it != counts_.end() && it->second >= times;
  });
}

DriverQueue::DriverQueue(vmm::GuestMemory& memory, Gpa area, uint16_t size) : memory_(&memory) {
  setup_ = {.size = size, .enabled = true, .descriptors = area.value};
  setup_.driver_area = setup_.descriptors + uint64_t{size} * 16;
  setup_.device_area = (setup_.driver_area + 6 + uint64_t{size} * 2 + 3) & ~uint64_t{3};
  bytes_ = setup_.device_area + 6 + uint64_t{size} * 8 - area.value;
  const std::vector<std::byte> zeroes(bytes_);
  write(area, zeroes.data(), zeroes.size());
}

void DriverQueue::write(Gpa gpa, const void* data, size_t size) {
  ASSERT_TRUE(memory_->write(gpa, {static_cast<const std::byte*>(data), size}));
}

template <class T>
T DriverQueue::read(Gpa gpa) const {
  const auto at = memory_->at(gpa, ByteCount{sizeof(T)});
  return std::atomic_ref<T>(*reinterpret_cast<T*>(at->data())).load(std::memory_order_acquire);
}

void DriverQueue::write_descriptor(uint16_t index, uint64_t address, uint32_t length,
                                   uint16_t flags, uint16_t next) {
  const struct {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
  } descriptor{address, length, flags, next};
  write(Gpa{setup_.descriptors + uint64_t{index} * 16}, &descriptor, sizeof descriptor);
}

void DriverQueue::offer(uint16_t head) {
  const uint64_t slot = available_ % setup_.size;
  write(Gpa{setup_.driver_area + 4 + slot * 2}, &head, sizeof head);
  set_available_index(static_cast<uint16_t>(available_ + 1));
}

void DriverQueue::set_available_index(uint16_t index) {
  available_ = index;
  const auto at = memory_->at(Gpa{setup_.driver_area + 2}, ByteCount{2});
  std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(at->data())).store(index);
}

void DriverQueue::set_used_event(uint16_t index) {
  write(Gpa{setup_.driver_area + 4 + uint64_t{setup_.size} * 2}, &index, sizeof index);
}

uint16_t DriverQueue::add(const std::vector<Part>& parts, uint16_t first) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto index = static_cast<uint16_t>(first + i);
    const uint16_t next = i + 1 < parts.size() ? kDescNext : 0;
    write_descriptor(index, parts[i].gpa.value, parts[i].length,
                     static_cast<uint16_t>(next | (parts[i].writable ? kDescWrite : 0)),
                     static_cast<uint16_t>(index + 1));
  }
  offer(first);
  return first;
}

uint16_t DriverQueue::add_indirect(const std::vector<Part>& parts, Gpa table, uint16_t first) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool more = i + 1 < parts.size();
    const struct {
      uint64_t address;
      uint32_t length;
      uint16_t flags, next;
    } descriptor{
        parts[i].gpa.value, parts[i].length,
        static_cast<uint16_t>((more ? kDescNext : 0) | (parts[i].writable ? kDescWrite : 0)),
        static_cast<uint16_t>(i + 1)};
    write(table + i * 16, &descriptor, sizeof descriptor);
  }
  write_descriptor(first, table.value, static_cast<uint32_t>(parts.size() * 16), kDescIndirect, 0);
  offer(first);
  return first;
}

uint16_t DriverQueue::used_index() const {
  return read<uint16_t>(Gpa{setup_.device_area + 2});
}

std::vector<Used> DriverQueue::take_used() {
  std::vector<Used> used;
  for (const uint16_t end = used_index(); seen_ != end; ++seen_) {
    const Gpa at{setup_.device_area + 4 + uint64_t{static_cast<uint16_t>(seen_ % setup_.size)} * 8};
    used.push_back({static_cast<uint16_t>(read<uint32_t>(at)), read<uint32_t>(at + 4)});
  }
  return used;
}

std::vector<Used> DriverQueue::wait_used(size_t count) {
  std::vector<Used> all;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (all.size() < count && std::chrono::steady_clock::now() < deadline) {
    for (const Used& used : take_used()) all.push_back(used);
    if (all.size() < count) ::usleep(200);
  }
  return all;
}

uint64_t Driver::read(uint32_t bar_offset, size_t size, unsigned bar) {
  std::byte data[8] = {};
  const uint32_t base = read_config(pci::kBar0 + 4 * bar, 4);
  EXPECT_TRUE(device_->read_memory(uint64_t{base} + bar_offset, std::span(data).first(size)));
  uint64_t value = 0;
  std::memcpy(&value, data, sizeof value);
  return value;
}

void Driver::write(uint32_t bar_offset, uint64_t value, size_t size, unsigned bar) {
  std::byte data[8];
  std::memcpy(data, &value, sizeof data);
  const uint32_t base = read_config(pci::kBar0 + 4 * bar, 4);
  EXPECT_TRUE(device_->write_memory(uint64_t{base} + bar_offset, std::span(data).first(size)));
}

uint64_t Driver::read_device(uint32_t offset, size_t size) {
  return read(kDeviceOffset + offset, size);
}

uint32_t Driver::read_config(uint32_t offset, size_t size) {
  std::byte data[4] = {};
  device_->read_config(offset, std::span(data).first(size));
  uint32_t value = 0;
  std::memcpy(&value, data, sizeof value);
  return value;
}

void Driver::write_config(uint32_t offset, uint32_t value, size_t size) {
  std::byte data[4];
  std::memcpy(data, &value, sizeof data);
  device_->write_config(offset, std::span(data).first(size));
}

void Driver::enable_pci() {
  write_config(pci::kCommand, pci::kCommandMemory | pci::kCommandMaster, 2);
  uint32_t capability = read_config(pci::kCapabilities, 1);
  while (capability != 0 && read_config(capability, 1) != pci::kCapabilityMsix)
    capability = read_config(capability + 1, 1);
  ASSERT_NE(capability, 0u) << "no MSI-X";
  const uint32_t vectors = (read_config(capability + 2, 2) & 0x7ff) + 1;
  for (uint32_t v = 0; v < vectors; ++v) {
    write(v * 16, kMsiAddress, 4, kMsixBar);
    write(v * 16 + 4, 0, 4, kMsixBar);
    write(v * 16 + 8, v, 4, kMsixBar);
    write(v * 16 + 12, 0, 4, kMsixBar);
  }
  write_config(capability + 2, pci::kMsixEnable, 2);
}

uint64_t Driver::offered() {
  write(kDeviceFeatureSelect, 0, 4);
  const uint64_t low = read(kDeviceFeature, 4);
  write(kDeviceFeatureSelect, 1, 4);
  return low | read(kDeviceFeature, 4) << 32;
}

bool Driver::negotiate(uint64_t features) {
  reset();
  write(kDeviceStatus, kAcknowledge, 1);
  write(kDeviceStatus, kAcknowledge | kDriver, 1);
  features |= kVersion1;
  write(kDriverFeatureSelect, 0, 4);
  write(kDriverFeature, features & 0xffffffff, 4);
  write(kDriverFeatureSelect, 1, 4);
  write(kDriverFeature, features >> 32, 4);
  write(kDeviceStatus, kAcknowledge | kDriver | kFeaturesOk, 1);
  return (status() & kFeaturesOk) != 0;
}

DriverQueue& Driver::add_queue(uint16_t index, uint16_t size) {
  const auto [it, added] = queues_.insert_or_assign(index, DriverQueue(*memory_, next_area_, size));
  next_area_ = Gpa{(next_area_.value + it->second.bytes() + 4095) & ~uint64_t{4095}};
  const QueueSetup& setup = it->second.setup();
  write(kQueueSelect, index, 2);
  write(kQueueSize, size, 2);
  write(kQueueVector, index, 2);
  write(kQueueDescriptors, setup.descriptors & 0xffffffff, 4);
  write(kQueueDescriptors + 4, setup.descriptors >> 32, 4);
  write(kQueueDriver, setup.driver_area, 8);
  write(kQueueDevice, setup.device_area, 8);
  write(kQueueEnable, 1, 2);
  return it->second;
}

void Driver::driver_ok() {
  write(kConfigVector, read(kNumQueues, 2), 2);
  write(kDeviceStatus, kAcknowledge | kDriver | kFeaturesOk | kDriverOk, 1);
}

void Driver::start(uint64_t features, uint16_t queues, uint16_t size) {
  enable_pci();
  ASSERT_TRUE(negotiate(features));
  for (uint16_t q = 0; q < queues; ++q) add_queue(q, size);
  driver_ok();
}

void Driver::reset() {
  write(kDeviceStatus, 0, 1);
  queues_.clear();
  next_area_ = Gpa{1 << 20};
}

void Driver::kick(uint16_t index) {
  write(kNotifyOffset + index * kNotifyStride, index, 2);
}

uint8_t Driver::status() {
  return static_cast<uint8_t>(read(kDeviceStatus, 1));
}

}  // namespace godwit::devices::virtio
