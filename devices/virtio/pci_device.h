// virtio over PCI (virtio 1.2, 4.1), without the legacy interface: one function with two BARs,
// configuration registers and the MSI-X table. There are interrupts by MSI-X only.
//
//   BAR 0  0x0000 common configuration   0x1000 ISR status
//          0x2000 device configuration   0x3000 doorbells, 4 bytes for each queue
//   BAR 1  0x0000 MSI-X table            0x1000 pending bits
//
// State (section of the model's type and version): 256 bytes writable bits of configuration space |
// MSI-X (msix.h) | u32 device feature select, driver feature select | u64 driver features | u16
// vector of configuration changes | u8 status, generation, ISR | u16 queue select | per queue: u16
// size, vector, u8 enabled, u64 descriptors, driver area, device area, u16 next available, next
// used, signalled used, u8 ever signalled | the model's own.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "devices/pci/config_space.h"
#include "devices/pci/function.h"
#include "devices/pci/msix.h"
#include "devices/virtio/model.h"
#include "vmm/io/device.h"
#include "vmm/io/io_handler.h"

namespace godwit::devices::virtio {

struct PciPlace {
  unsigned slot = 1;
  uint32_t instance = 0;  // among devices of this type
};

// As PciDevice::traits(), of a model that is no device yet.
std::string traits_of(const Model& model, const PciPlace& place);

class PciDevice final : public vmm::Device, public pci::Function, private Transport {
 public:
  // The references outlive the device. Throws std::system_error when the host gives no descriptors.
  PciDevice(std::unique_ptr<Model> model, const PciPlace& place, vmm::GuestMemory& memory,
            vmm::MsiSink& msi, vmm::Doorbells& doorbells);
  ~PciDevice() override;

  [[nodiscard]] Model& model() { return *model_; }

  void read_config(uint32_t offset, std::span<std::byte> data) override;
  void write_config(uint32_t offset, std::span<const std::byte> data) override;
  bool read_memory(uint64_t address, std::span<std::byte> data) override;
  bool write_memory(uint64_t address, std::span<const std::byte> data) override;

  [[nodiscard]] std::string_view type() const override { return model_->type(); }
  [[nodiscard]] uint32_t instance() const override { return place_.instance; }
  [[nodiscard]] uint16_t state_version() const override { return model_->state_version(); }
  [[nodiscard]] std::string traits() const override;
  void start_quiesce() override;
  void quiesce() override;
  void resume() override;
  void release() override { model_->release(); }
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  struct QueueSlot {
    QueueSetup setup;
    uint16_t max_size = 0;
    uint16_t vector = 0;
    UniqueFd doorbell;
    Queue queue;
    bool running = false;  // its thread's: between resume() and quiesce(), with a driver
  };
  // Each wakes the next when it is done, so that a model sees its threads in order, and nobody has
  // to wait for a device before waking those of another one.
  struct Worker {
    Worker(PciDevice& device, const std::string& name, unsigned index)
        : quiesce([&device, index] { device.quiesce_thread(index); }),
          resume([&device, index] { device.resume_thread(index); }),
          thread(name) {}
    IoThread::Task quiesce;
    IoThread::Task resume;
    IoThread thread;  // last: it uses the others
  };
  // All that load() reads before anything changes.
  struct Loaded;

  [[nodiscard]] vmm::GuestMemory& memory() override { return memory_; }
  [[nodiscard]] Queue& queue(uint16_t index) override { return queues_[index].queue; }
  [[nodiscard]] IoThread& thread(unsigned index) override { return workers_[index]->thread; }
  void flush(uint16_t queue) override;
  void config_changed() override;
  void broken(std::string_view why) override;

  [[nodiscard]] uint16_t queue_count() const { return static_cast<uint16_t>(queues_.size()); }
  void add_capabilities();
  [[nodiscard]] uint64_t offered() const;
  bool access_window(uint32_t offset, size_t size, unsigned& bar, uint32_t& at) const;
  struct BarPlace {
    unsigned bar;
    uint32_t offset;
  };
  [[nodiscard]] std::optional<BarPlace> find_bar(uint64_t address) const;
  void read_bar(unsigned bar, uint32_t offset, std::span<std::byte> data);
  void write_bar(unsigned bar, uint32_t offset, std::span<const std::byte> data);
  void read_common(uint32_t offset, std::span<std::byte> data);
  void write_common(uint32_t offset, uint64_t value, size_t size);
  void write_queue_field(uint32_t offset, uint64_t value, size_t size);
  void write_status(uint8_t value);
  void notify(uint32_t offset);
  void start_locked();
  void stop_locked();
  void reset_locked();
  void start_quiesce_locked();
  void settle_locked();
  void quiesce_thread(unsigned index);
  void resume_thread(unsigned index);
  void run_queues(unsigned index);
  void place_doorbells_locked();
  void remove_doorbells_locked() noexcept;
  [[nodiscard]] bool driver_ready() const;
  Result<Loaded> read_loaded(ByteReader& in) const;
  Result<> read_queues(ByteReader& in, Loaded& loaded) const;
  void apply_locked(Loaded& loaded);

  std::unique_ptr<Model> model_;
  PciPlace place_;
  vmm::GuestMemory& memory_;
  vmm::Doorbells& doorbells_;

  // Guards what follows: the registers. Held while threads start and stop, so a thread never takes
  // it.
  mutable std::mutex mutex_;
  pci::ConfigSpace config_;
  uint16_t msix_capability_ = 0;
  uint16_t window_capability_ = 0;  // VIRTIO_PCI_CAP_PCI_CFG
  uint32_t device_feature_select_ = 0;
  uint32_t driver_feature_select_ = 0;
  uint64_t driver_features_ = 0;
  uint16_t queue_select_ = 0;
  bool started_ = false;  // the model has a driver
  bool resumed_ = false;
  bool loaded_ = false;                   // since the last resume()
  std::optional<uint64_t> doorbells_at_;  // where they are attached

  // What threads touch too.
  std::atomic<uint16_t> config_vector_;
  std::atomic<uint8_t> status_{0};
  std::atomic<uint8_t> generation_{0};
  std::atomic<uint8_t> isr_{0};
  std::atomic<int> complaints_{0};
  pci::Msix msix_;
  std::vector<QueueSlot> queues_;
  std::vector<std::unique_ptr<Worker>> workers_;  // last: they use the others
};

}  // namespace godwit::devices::virtio
