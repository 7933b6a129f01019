// Saving and loading a virtio PCI function.
#include <bit>

#include "devices/virtio/pci_device.h"
#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {
namespace {

constexpr uint8_t kStatusBits =
    kAcknowledge | kDriver | kDriverOk | kFeaturesOk | kNeedsReset | kFailed;

}  // namespace

struct PciDevice::Loaded {
  struct OneQueue {
    QueueSetup setup;
    uint16_t vector = kNoVector;
    uint16_t next_available = 0, next_used = 0, signalled_used = 0;
    bool ever_signalled = false;
  };
  std::array<uint8_t, 256> config{};
  pci::Msix::State msix;
  uint32_t device_feature_select = 0, driver_feature_select = 0;
  uint64_t driver_features = 0;
  uint16_t config_vector = kNoVector;
  uint8_t status = 0, generation = 0, isr = 0;
  uint16_t queue_select = 0;
  std::vector<OneQueue> queues;
  [[nodiscard]] bool started() const {
    const uint8_t both = kDriverOk | kFeaturesOk;
    return (status & both) == both && (status & kNeedsReset) == 0;
  }
};

void PciDevice::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  const auto config = config_.writable_bits();
  out.bytes(std::as_bytes(std::span(config)));
  msix_.save(out);
  out.u32(device_feature_select_);
  out.u32(driver_feature_select_);
  out.u64(driver_features_);
  out.u16(config_vector_.load());
  out.u8(status_.load());
  out.u8(generation_.load());
  out.u8(isr_.load());
  out.u16(queue_select_);
  for (const QueueSlot& slot : queues_) {
    out.u16(slot.setup.size);
    out.u16(slot.vector);
    out.u8(slot.setup.enabled ? 1 : 0);
    out.u64(slot.setup.descriptors);
    out.u64(slot.setup.driver_area);
    out.u64(slot.setup.device_area);
    const bool live = driver_ready() && slot.queue.started();
    out.u16(live ? slot.queue.next_available() : uint16_t{0});
    out.u16(live ? slot.queue.next_used() : uint16_t{0});
    out.u16(live ? slot.queue.signalled_used() : uint16_t{0});
    out.u8(live && slot.queue.ever_signalled() ? 1 : 0);
  }
  model_->save(out);
}

Result<PciDevice::Loaded> PciDevice::read_loaded(ByteReader& in) const {
  Loaded loaded;
  const auto config = in.bytes(loaded.config.size());
  for (size_t i = 0; i < config.size(); ++i) loaded.config[i] = std::to_integer<uint8_t>(config[i]);
  GODWIT_ASSIGN(loaded.msix, msix_.read_state(in));
  loaded.device_feature_select = in.u32();
  loaded.driver_feature_select = in.u32();
  loaded.driver_features = in.u64();
  loaded.config_vector = in.u16();
  loaded.status = in.u8();
  loaded.generation = in.u8();
  loaded.isr = in.u8();
  loaded.queue_select = in.u16();
  GODWIT_TRY(in.status());
  pci::ConfigSpace fits = config_;
  fits.set_writable_bits(loaded.config);
  if (fits.writable_bits() != loaded.config)
    return make_error(Errc::kCorrupt, "{}: configuration space with bits that no guest can set",
                      type());
  const bool vector_good =
      loaded.config_vector < msix_.vectors() || loaded.config_vector == kNoVector;
  if ((loaded.status & ~kStatusBits) != 0 || (loaded.isr & ~3) != 0 || !vector_good)
    return make_error(Errc::kCorrupt, "{}: status {:#x}, ISR {:#x}, vector {} cannot be", type(),
                      loaded.status, loaded.isr, loaded.config_vector);
  // A driver may have written any feature; taken are only those that were offered.
  if ((loaded.status & kFeaturesOk) != 0 && (loaded.driver_features & ~offered()) != 0)
    return make_error(Errc::kIncompatible,
                      "{} #{}: the guest uses features {:#x} that the device has not here", type(),
                      place_.instance, loaded.driver_features & ~offered());
  GODWIT_TRY(read_queues(in, loaded));
  return loaded;
}

Result<> PciDevice::read_queues(ByteReader& in, Loaded& loaded) const {
  for (size_t i = 0; i < queues_.size(); ++i) {
    Loaded::OneQueue queue;
    queue.setup.size = in.u16();
    queue.vector = in.u16();
    const uint8_t enabled = in.u8();
    queue.setup.enabled = enabled != 0;
    queue.setup.descriptors = in.u64();
    queue.setup.driver_area = in.u64();
    queue.setup.device_area = in.u64();
    queue.next_available = in.u16();
    queue.next_used = in.u16();
    queue.signalled_used = in.u16();
    const uint8_t signalled = in.u8();
    queue.ever_signalled = signalled != 0;
    GODWIT_TRY(in.status());
    const bool idle = !loaded.started() || !queue.setup.enabled;
    const bool counters =
        queue.next_available != 0 || queue.next_used != 0 || queue.signalled_used != 0 || signalled;
    if (enabled > 1 || signalled > 1 || !std::has_single_bit(queue.setup.size) ||
        queue.setup.size > queues_[i].max_size ||
        (queue.vector >= msix_.vectors() && queue.vector != kNoVector) || (idle && counters))
      return make_error(Errc::kCorrupt, "{} #{}: the state of queue {} cannot be", type(),
                        place_.instance, i);
    if (!idle) {
      if (const auto good = Queue::check(queue.setup, memory_); !good)
        return good.error().with_context(
            fmt::format("{} #{}: queue {}", type(), place_.instance, i));
    }
    loaded.queues.push_back(queue);
  }
  return {};
}

void PciDevice::apply_locked(Loaded& loaded) {
  config_.set_writable_bits(loaded.config);
  msix_.apply(std::move(loaded.msix));
  device_feature_select_ = loaded.device_feature_select;
  driver_feature_select_ = loaded.driver_feature_select;
  driver_features_ = loaded.driver_features;
  config_vector_.store(loaded.config_vector);
  status_.store(loaded.status);
  generation_.store(loaded.generation);
  isr_.store(loaded.isr);
  queue_select_ = loaded.queue_select;
  for (size_t i = 0; i < queues_.size(); ++i) {
    const Loaded::OneQueue& from = loaded.queues[i];
    QueueSlot& slot = queues_[i];
    slot.setup = from.setup;
    slot.vector = from.vector;
    if (!loaded.started() || !from.setup.enabled) continue;
    slot.queue.start(from.setup, memory_, driver_features_);
    slot.queue.start_at(from.next_available, from.next_used, from.signalled_used,
                        from.ever_signalled);
  }
}

Result<> PciDevice::load(ByteReader& in, uint16_t version) {
  const std::lock_guard lock(mutex_);
  GODWIT_ASSIGN(Loaded loaded, read_loaded(in));
  // The model checks its part in full before it changes anything, and nothing fails after it.
  GODWIT_TRY(model_->load(in, version));
  GODWIT_TRY(in.status());
  const bool had_doorbells = started_;
  if (started_) {
    for (unsigned t = 0; t < workers_.size(); ++t) thread(t).run([&] { model_->stop(t); });
    for (QueueSlot& slot : queues_) slot.queue.stop();
    started_ = false;
  }
  apply_locked(loaded);
  loaded_ = true;
  if (loaded.started()) {
    started_ = true;
    for (unsigned t = 0; t < workers_.size(); ++t)
      thread(t).run([&] { model_->start(*this, driver_features_, t); });
  }
  // Most often where they are already: a rehearsal has placed them.
  if (had_doorbells || started_) place_doorbells_locked();
  return {};
}

}  // namespace godwit::devices::virtio
