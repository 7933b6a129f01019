// The guest's side of a virtio device, as far as tests need it: rings in guest memory, requests,
// registers. Everything goes through what a guest has: BARs and memory.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/virtio/pci_device.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::devices::virtio {

// Counts messages by their data.
class FakeMsi final : public vmm::MsiSink {
 public:
  void signal(uint64_t address, uint32_t data) override;
  [[nodiscard]] int count(uint32_t data) const;
  // Until there were `times` of them; false after ten seconds.
  [[nodiscard]] bool wait_for(uint32_t data, int times) const;
  [[nodiscard]] uint64_t last_address() const { return address_; }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<uint32_t, int> counts_;
  uint64_t address_ = 0;
};

// KVM without ioeventfd: every doorbell reaches the device's registers. Remembers the attached.
class FakeDoorbells final : public vmm::Doorbells {
 public:
  bool attach(uint64_t address, int event_fd) override {
    attached[address] = event_fd;
    return false;
  }
  void detach(uint64_t address, int) noexcept override { attached.erase(address); }
  std::map<uint64_t, int> attached;
};

struct Used {
  uint16_t head = 0;
  uint32_t written = 0;
};

// One queue as a driver keeps it. Not synchronised.
class DriverQueue {
 public:
  // Rings and nothing else from `area` on.
  DriverQueue(vmm::GuestMemory& memory, Gpa area, uint16_t size);
  [[nodiscard]] const QueueSetup& setup() const { return setup_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

  struct Part {
    Gpa gpa;
    uint32_t length = 0;
    bool writable = false;
  };
  // Writes descriptors from `first` on and offers them; returns the head.
  uint16_t add(const std::vector<Part>& parts, uint16_t first);
  // The same by an indirect table at `table`.
  uint16_t add_indirect(const std::vector<Part>& parts, Gpa table, uint16_t first);
  // Raw writes, for drivers that lie.
  void write_descriptor(uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
                        uint16_t next);
  void offer(uint16_t head);
  void set_available_index(uint16_t index);
  void set_used_event(uint16_t index);
  [[nodiscard]] uint16_t used_index() const;
  // What came back since the last call.
  std::vector<Used> take_used();
  // Until `count` more came back, at most ten seconds; what came.
  std::vector<Used> wait_used(size_t count);

 private:
  void write(Gpa gpa, const void* data, size_t size);
  template <class T>
  T read(Gpa gpa) const;
  vmm::GuestMemory* memory_;
  QueueSetup setup_;
  uint64_t bytes_ = 0;
  uint16_t available_ = 0;
  uint16_t seen_ = 0;
};

// A function's registers, driven as Linux does it.
class Driver {
 public:
  Driver(PciDevice& device, vmm::GuestMemory& memory) : device_(&device), memory_(&memory) {}
  // The same driver after a move: its memory came along.
  Driver(Driver&& before, PciDevice& device) : Driver(std::move(before)) { device_ = &device; }
  // Memory decoding, MSI-X with vector i sending data i, all unmasked.
  void enable_pci();
  // Reset to FEATURES_OK; whether the device took `features` (VERSION_1 comes on top).
  bool negotiate(uint64_t features);
  // Rings of queue `index`, one after another from 1 MiB on; its vector is `index`, that of
  // configuration changes the one after the last queue.
  DriverQueue& add_queue(uint16_t index, uint16_t size);
  void driver_ok();
  // All of it, with every queue at `size`.
  void start(uint64_t features, uint16_t queues, uint16_t size);
  void reset();
  void kick(uint16_t index);
  [[nodiscard]] DriverQueue& queue(uint16_t index) { return queues_.at(index); }

  [[nodiscard]] uint8_t status();
  [[nodiscard]] uint64_t offered();
  uint64_t read(uint32_t bar_offset, size_t size, unsigned bar = 0);
  void write(uint32_t bar_offset, uint64_t value, size_t size, unsigned bar = 0);
  uint64_t read_device(uint32_t offset, size_t size);
  uint32_t read_config(uint32_t offset, size_t size);
  void write_config(uint32_t offset, uint32_t value, size_t size);

 private:
  PciDevice* device_;
  vmm::GuestMemory* memory_;
  std::map<uint16_t, DriverQueue> queues_;
  Gpa next_area_{1 << 20};
};

}  // namespace godwit::devices::virtio
