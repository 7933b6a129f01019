#include "devices/virtio/pci_device.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "devices/virtio/pci_layout.h"
#include "devices/virtio/spec.h"
#include "vmm/base/check.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::virtio {
namespace {

pci::Identity identity_of(const Model& model) {
  return {.vendor = kPciVendor,
          .device = static_cast<uint16_t>(kPciDeviceBase + model.device_id()),
          .revision = 1,
          .class_code = model.class_code(),
          .subsystem_vendor = kPciVendor,
          .subsystem = static_cast<uint16_t>(kPciDeviceBase + model.device_id())};
}

// One for each queue and one for changes of the configuration.
uint16_t vectors_of(const Model& model) {
  return static_cast<uint16_t>(model.queue_sizes().size() + 1);
}

void put32(std::vector<uint8_t>& bytes, uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

// 4.1.4: cap_len, cfg_type, bar, id, padding, offset, length; then what a type adds.
std::vector<uint8_t> capability(uint8_t type, uint8_t bar, uint32_t offset, uint32_t length,
                                std::optional<uint32_t> more = {}) {
  std::vector<uint8_t> body{static_cast<uint8_t>(more ? 20 : 16), type, bar, 0, 0, 0};
  put32(body, offset);
  put32(body, length);
  if (more) put32(body, *more);
  return body;
}

}  // namespace

PciDevice::PciDevice(std::unique_ptr<Model> model, const PciPlace& place, vmm::GuestMemory& memory,
                     vmm::MsiSink& msi, vmm::Doorbells& doorbells)
    : model_(std::move(model)),
      place_(place),
      memory_(memory),
      doorbells_(doorbells),
      config_(identity_of(*model_)),
      config_vector_(kNoVector),
      msix_(msi, vectors_of(*model_)) {
  const std::vector<uint16_t> sizes = model_->queue_sizes();
  GODWIT_CHECK(sizes.size() <= kMaxQueues, "more queues than the layout has room for");
  queues_ = std::vector<QueueSlot>(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    queues_[i].max_size = sizes[i];
    queues_[i].doorbell = make_eventfd();
  }
  add_capabilities();
  reset_locked();
  for (unsigned i = 0; i < model_->threads(); ++i)
    workers_.push_back(std::make_unique<Worker>(
        *this, fmt::format("{}-{}.{}", model_->type().substr(7), place_.instance, i), i));
}

PciDevice::~PciDevice() {
  quiesce();
  const std::lock_guard lock(mutex_);
  stop_locked();
}

void PciDevice::add_capabilities() {
  const auto base = static_cast<uint32_t>(vmm::kPciWindow.value + place_.slot * kSlotStride);
  config_.add_bar(kRegisterBar, kRegisterBarSize, base);
  config_.add_bar(kMsixBar, kMsixBarSize, base + kRegisterBarSize);
  config_.add_capability(pci::kCapabilityVendor,
                         capability(kCommonType, kRegisterBar, kCommonOffset, kCommonSize));
  config_.add_capability(pci::kCapabilityVendor, capability(kIsrType, kRegisterBar, kIsrOffset, 1));
  config_.add_capability(pci::kCapabilityVendor,
                         capability(kDeviceType, kRegisterBar, kDeviceOffset, kAreaSize));
  config_.add_capability(
      pci::kCapabilityVendor,
      capability(kNotifyType, kRegisterBar, kNotifyOffset,
                 static_cast<uint32_t>(queues_.size() * kNotifyStride), kNotifyStride));
  // Its BAR, offset, length and data are the driver's to write.
  std::vector<uint8_t> writable(18, 0);
  writable[2] = 0xff;
  std::fill(writable.begin() + 6, writable.end(), uint8_t{0xff});
  window_capability_ = config_.add_capability(pci::kCapabilityVendor,
                                              capability(kWindowType, 0, 0, 0, 0u), writable);

  std::vector<uint8_t> msix{static_cast<uint8_t>(msix_.vectors() - 1), 0};
  put32(msix, kMsixBar);
  put32(msix, kPendingOffset | kMsixBar);
  const uint8_t control[] = {0, (pci::kMsixEnable | pci::kMsixMaskAll) >> 8};
  msix_capability_ = config_.add_capability(pci::kCapabilityMsix, msix, control);
}

uint64_t PciDevice::offered() const {
  return model_->features() | kVersion1 | kIndirect | kEventIdx;
}

std::string traits_of(const Model& model, const PciPlace& place) {
  const std::string own = model.traits();
  return fmt::format("slot={}{}{}", place.slot, own.empty() ? "" : ";", own);
}

std::string PciDevice::traits() const {
  return traits_of(*model_, place_);
}

bool PciDevice::driver_ready() const {
  const uint8_t status = status_.load();
  return (status & kDriverOk) != 0 && (status & kNeedsReset) == 0;
}

void PciDevice::flush(uint16_t index) {
  QueueSlot& slot = queues_[index];
  if (!slot.queue.publish()) return;
  isr_.fetch_or(1, std::memory_order_relaxed);
  msix_.signal(slot.vector);
}

void PciDevice::config_changed() {
  generation_.fetch_add(1);
  isr_.fetch_or(2, std::memory_order_relaxed);
  msix_.signal(config_vector_.load());
}

void PciDevice::broken(std::string_view why) {
  if ((status_.fetch_or(kNeedsReset) & kNeedsReset) != 0) return;
  // A guest could fill the log by breaking the rules again and again.
  constexpr int kMostComplaints = 10;
  if (complaints_.fetch_add(1) < kMostComplaints)
    spdlog::warn(
        "{} #{}: the guest's driver breaks the rules: {}; the device stands still until it "
        "is reset",
        type(), place_.instance, why);
  config_changed();
}

// Until the threads have gone on since the last resume(), which did not wait for them. In this
// order: a task that is done has given the next one to its thread.
void PciDevice::settle_locked() {
  for (const auto& worker : workers_) worker->thread.wait(worker->resume);
}

// Under mutex_: vCPUs that write the status wait for one another.
void PciDevice::start_locked() {
  settle_locked();
  for (QueueSlot& slot : queues_) {
    if (!slot.setup.enabled) continue;
    if (const auto good = Queue::check(slot.setup, memory_); !good)
      return broken(good.error().message);
  }
  for (QueueSlot& slot : queues_) {
    if (slot.setup.enabled) slot.queue.start(slot.setup, memory_, driver_features_);
  }
  started_ = true;
  for (unsigned t = 0; t < workers_.size(); ++t)
    thread(t).run([&] { model_->start(*this, driver_features_, t); });
  place_doorbells_locked();
  if (!resumed_) return;
  for (unsigned t = 0; t < workers_.size(); ++t) thread(t).run([&] { run_queues(t); });
}

void PciDevice::run_queues(unsigned index) {
  model_->resume(index);
  for (uint16_t q = 0; q < queue_count(); ++q) {
    if (model_->thread_of(q) != index) continue;
    QueueSlot& slot = queues_[q];
    slot.running = slot.queue.started();
    if (!slot.running) continue;
    const int fd = slot.doorbell.get();
    thread(index).watch(fd, [this, q, fd] {
      drain_eventfd(fd);
      if (queues_[q].running) model_->notified(q);
    });
    // What was added, or rung for, while nobody listened.
    model_->notified(q);
  }
}

void PciDevice::stop_locked() {
  if (!started_) return;
  settle_locked();
  remove_doorbells_locked();
  for (unsigned t = 0; t < workers_.size(); ++t) {
    thread(t).run([&] {
      for (uint16_t q = 0; q < queue_count(); ++q) {
        if (model_->thread_of(q) != t) continue;
        queues_[q].running = false;
        thread(t).unwatch(queues_[q].doorbell.get());
      }
      model_->stop(t);
      for (uint16_t q = 0; q < queue_count(); ++q) {
        if (model_->thread_of(q) == t) queues_[q].queue.stop();
      }
    });
  }
  started_ = false;
}

void PciDevice::reset_locked() {
  stop_locked();
  status_.store(0);
  isr_.store(0);
  config_vector_.store(kNoVector);
  device_feature_select_ = driver_feature_select_ = 0;
  driver_features_ = 0;
  queue_select_ = 0;
  for (QueueSlot& slot : queues_) {
    slot.setup = {.size = slot.max_size};
    slot.vector = kNoVector;
  }
}

void PciDevice::write_status(uint8_t value) {
  if (value == 0) return reset_locked();
  const uint8_t before = status_.load();
  const bool wanted = (driver_features_ & ~offered()) == 0 && (driver_features_ & kVersion1) != 0;
  if ((value & kFeaturesOk) != 0 && !wanted) value &= static_cast<uint8_t>(~kFeaturesOk);
  // Bits are only ever added; NEEDS_RESET is the device's.
  status_.fetch_or(value & static_cast<uint8_t>(~kNeedsReset));
  const uint8_t both = kDriverOk | kFeaturesOk;
  if ((before & kDriverOk) == 0 && (status_.load() & both) == both) start_locked();
}

void PciDevice::start_quiesce() {
  const std::lock_guard lock(mutex_);
  start_quiesce_locked();
}

void PciDevice::start_quiesce_locked() {
  if (!resumed_) return;
  resumed_ = false;
  settle_locked();
  thread(0).post(workers_[0]->quiesce);
}

void PciDevice::quiesce_thread(unsigned index) {
  for (uint16_t q = 0; q < queue_count(); ++q) {
    if (model_->thread_of(q) == index) queues_[q].running = false;
  }
  model_->quiesce(index);
  if (index + 1 < workers_.size()) thread(index + 1).post(workers_[index + 1]->quiesce);
}

void PciDevice::quiesce() {
  const std::lock_guard lock(mutex_);
  start_quiesce_locked();
  for (const auto& worker : workers_) worker->thread.wait(worker->quiesce);
}

void PciDevice::resume() {
  const std::lock_guard lock(mutex_);
  if (resumed_) return;
  resumed_ = true;
  model_->reclaim();
  if (loaded_) model_->arrived();
  loaded_ = false;
  // The vCPUs need not wait for it.
  thread(0).post(workers_[0]->resume);
}

void PciDevice::resume_thread(unsigned index) {
  run_queues(index);
  if (index + 1 < workers_.size()) thread(index + 1).post(workers_[index + 1]->resume);
}

}  // namespace godwit::devices::virtio
