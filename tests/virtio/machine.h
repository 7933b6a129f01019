// A virtio device with all that surrounds it, and its driver.
#pragma once
#include <memory>
#include <utility>

#include "tests/devices/fakes.h"
#include "tests/virtio/driver.h"

namespace godwit::devices::virtio {

inline std::shared_ptr<vmm::GuestMemory> make_memory(ByteCount size = 16_MiB) {
  return std::shared_ptr<vmm::GuestMemory>(vmm::GuestMemory::create({.size = size}).value());
}

struct TestMachine {
  TestMachine(std::shared_ptr<vmm::GuestMemory> m, std::unique_ptr<Model> model)
      : memory(std::move(m)), device(std::move(model), {.slot = 3}, *memory, msi, doorbells) {}
  template <class M>
  M& model() {
    return static_cast<M&>(device.model());
  }
  void write(Gpa gpa, std::string_view text) {
    ASSERT_TRUE(memory->write(gpa, std::as_bytes(std::span(text))));
  }
  [[nodiscard]] std::string text(Gpa gpa, size_t size) const {
    std::string text(size, '\0');
    EXPECT_TRUE(memory->read(gpa, std::as_writable_bytes(std::span(text))));
    return text;
  }

  std::shared_ptr<vmm::GuestMemory> memory;
  FakeMsi msi;
  FakeDoorbells doorbells;
  PciDevice device;
  Driver driver{device, *memory};
};

// Moves what runs on `from` to a machine with `model`, as a migration does: a rehearsal first. The
// new one does not run yet.
inline std::unique_ptr<TestMachine> move_to(TestMachine& from, std::unique_ptr<Model> model) {
  from.device.quiesce();
  const auto state = saved(from.device);
  auto next = std::make_unique<TestMachine>(from.memory, std::move(model));
  EXPECT_TRUE(load_bytes(next->device, state)) << "rehearsal";
  EXPECT_TRUE(load_bytes(next->device, state));
  EXPECT_EQ(saved(next->device), state);
  next->driver = Driver(std::move(from.driver), next->device);
  return next;
}

}  // namespace godwit::devices::virtio
