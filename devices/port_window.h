// Puts one device on several ranges of a bus.
#pragma once
#include "vmm/io/io_handler.h"

namespace godwit::devices {

// One range of a device whose own offsets start elsewhere: offset 0 of the range is `base` of the
// device.
class PortWindow final : public vmm::IoHandler {
 public:
  PortWindow(vmm::IoHandler& device, uint64_t base) : device_(device), base_(base) {}
  void read(uint64_t offset, std::span<std::byte> data) override {
    device_.read(base_ + offset, data);
  }
  void write(uint64_t offset, std::span<const std::byte> data) override {
    device_.write(base_ + offset, data);
  }

 private:
  vmm::IoHandler& device_;
  uint64_t base_;
};

}  // namespace godwit::devices
