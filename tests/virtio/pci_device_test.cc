#include "devices/virtio/pci_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "devices/pci/root.h"
#include "devices/virtio/pci_layout.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/spec.h"
#include "tests/devices/fakes.h"
#include "tests/devices/state_torture.h"
#include "tests/virtio/driver.h"
#include "vmm/boot/boot_layout.h"

namespace godwit::devices::virtio {
namespace {

struct Machine {
  explicit Machine(std::shared_ptr<vmm::GuestMemory> m) : memory(std::move(m)) {}
  std::shared_ptr<vmm::GuestMemory> memory;
  FakeMsi msi;
  FakeDoorbells doorbells;
  PciDevice device{std::make_unique<Rng>(), {.slot = 3}, *memory, msi, doorbells};
  Driver driver{device, *memory};
};

class PciDeviceTest : public testing::Test {
 protected:
  static constexpr Gpa kData{4 << 20};
  static std::shared_ptr<vmm::GuestMemory> make_memory() {
    return *vmm::GuestMemory::create({.size = 16_MiB});
  }
  void start() {
    a_->device.resume();
    a_->driver.start(kEventIdx | kIndirect, 1, 16);
    ASSERT_EQ(a_->driver.status(), kAcknowledge | kDriver | kFeaturesOk | kDriverOk);
  }
  [[nodiscard]] bool all_zero(Gpa gpa, uint32_t size) const {
    const auto bytes = memory_->at(gpa, ByteCount{size});
    return std::all_of(bytes->begin(), bytes->end(), [](std::byte b) { return b == std::byte{0}; });
  }
  void expect_served(Machine& machine, uint16_t head) {
    machine.driver.queue(0).add({{kData, 64, true}}, head);
    machine.driver.kick(0);
    const auto used = machine.driver.queue(0).wait_used(1);
    ASSERT_EQ(used.size(), 1u);
    EXPECT_EQ(used[0].head, head);
    EXPECT_EQ(used[0].written, 64u);
    EXPECT_FALSE(all_zero(kData, 64));
  }

  std::shared_ptr<vmm::GuestMemory> memory_ = make_memory();
  std::unique_ptr<Machine> a_ = std::make_unique<Machine>(memory_);
};

TEST_F(PciDeviceTest, IsFoundWhereItsSlotIs) {
  pci::Root root;
  root.add(3, a_->device);
  vmm::IoBus ports, memory;
  root.attach(ports, memory);
  std::byte id[4];
  ASSERT_TRUE(memory.read(vmm::kPciEcam.value + (3u << 15), id));
  EXPECT_EQ(std::to_integer<unsigned>(id[0]) | std::to_integer<unsigned>(id[1]) << 8, 0x1af4u);
  EXPECT_EQ(std::to_integer<unsigned>(id[2]) | std::to_integer<unsigned>(id[3]) << 8, 0x1044u);
  // The same by ports.
  const uint32_t address = 0x80000000u | 3u << 11;
  ASSERT_TRUE(ports.write(0xcf8, std::as_bytes(std::span(&address, 1))));
  std::byte by_port[2];
  ASSERT_TRUE(ports.read(0xcfe, by_port));
  EXPECT_EQ(by_port[0], id[2]);
  EXPECT_EQ(by_port[1], id[3]);
  // Nobody there.
  ASSERT_TRUE(memory.read(vmm::kPciEcam.value + (4u << 15), id));
  EXPECT_EQ(id[0], std::byte{0xff});
}

TEST_F(PciDeviceTest, TellsTheSizeOfItsBarsAndMovesThem) {
  Driver& driver = a_->driver;
  const uint32_t place = driver.read_config(pci::kBar0, 4);
  EXPECT_EQ(place, vmm::kPciWindow.value + 3 * kSlotStride);
  driver.write_config(pci::kBar0, 0xffffffff, 4);
  EXPECT_EQ(driver.read_config(pci::kBar0, 4), ~(kRegisterBarSize - 1));
  driver.write_config(pci::kBar0, place + 0x100000, 4);
  std::byte byte[4];
  EXPECT_FALSE(a_->device.read_memory(place + 0x100000, byte)) << "decoding is off";
  driver.write_config(pci::kCommand, pci::kCommandMemory, 2);
  EXPECT_TRUE(a_->device.read_memory(place + 0x100000, byte));
  EXPECT_FALSE(a_->device.read_memory(place, byte));
}

TEST_F(PciDeviceTest, ServesADriver) {
  start();
  expect_served(*a_, 0);
  EXPECT_TRUE(a_->msi.wait_for(0, 1));
  EXPECT_EQ(a_->msi.last_address(), 0xfee00000u);
}

TEST_F(PciDeviceTest, TakesNoFeatureThatItDidNotOffer) {
  a_->driver.enable_pci();
  EXPECT_FALSE(a_->driver.negotiate(feature(3)));
  EXPECT_TRUE(a_->driver.negotiate(kEventIdx));
}

TEST_F(PciDeviceTest, NeedsAResetAfterADriverThatLies) {
  start();
  a_->driver.queue(0).offer(99);
  a_->driver.kick(0);
  EXPECT_TRUE(a_->msi.wait_for(1, 1)) << "a change of configuration is told";
  EXPECT_NE(a_->driver.status() & kNeedsReset, 0);
  a_->driver.start(0, 1, 16);
  EXPECT_EQ(a_->driver.status() & kNeedsReset, 0);
  expect_served(*a_, 1);
}

TEST_F(PciDeviceTest, RefusesRingsOutsideOfRam) {
  a_->device.resume();
  a_->driver.enable_pci();
  ASSERT_TRUE(a_->driver.negotiate(0));
  a_->driver.write(kQueueDescriptors, 0xfffffff0, 8);
  a_->driver.write(kQueueEnable, 1, 2);
  a_->driver.driver_ok();
  EXPECT_NE(a_->driver.status() & kNeedsReset, 0);
}

TEST_F(PciDeviceTest, KeepsMaskedInterruptsUntilTheyAreUnmasked) {
  start();
  a_->driver.write(12, 1, 4, kMsixBar);
  expect_served(*a_, 0);
  a_->device.quiesce();  // the interrupt has been raised by now
  EXPECT_EQ(a_->msi.count(0), 0);
  EXPECT_EQ(a_->driver.read(kPendingOffset, 8, kMsixBar), 1u);
  a_->driver.write(12, 0, 4, kMsixBar);
  EXPECT_EQ(a_->msi.count(0), 1);
  EXPECT_EQ(a_->driver.read(kPendingOffset, 8, kMsixBar), 0u);
}

TEST_F(PciDeviceTest, ReachesItsBarsThroughConfigurationSpace) {
  Driver& driver = a_->driver;
  uint32_t window = driver.read_config(pci::kCapabilities, 1);
  while (window != 0 && (driver.read_config(window, 1) != pci::kCapabilityVendor ||
                         driver.read_config(window + 3, 1) != kWindowType))
    window = driver.read_config(window + 1, 1);
  ASSERT_NE(window, 0u);
  driver.write_config(window + kWindowBar, 0, 1);
  driver.write_config(window + kWindowOffset, kNumQueues, 4);
  driver.write_config(window + kWindowLength, 2, 4);
  EXPECT_EQ(driver.read_config(window + kWindowData, 2), 1u);
  driver.write_config(window + kWindowOffset, 0xfffffff0, 4);
  (void)driver.read_config(window + kWindowData, 2);
}

TEST_F(PciDeviceTest, PutsDoorbellsWhereItsBarIs) {
  start();
  const uint64_t place = vmm::kPciWindow.value + 3 * kSlotStride + kNotifyOffset;
  EXPECT_TRUE(a_->doorbells.attached.contains(place));
  a_->driver.write_config(pci::kCommand, 0, 2);
  EXPECT_TRUE(a_->doorbells.attached.empty());
  a_->driver.write_config(pci::kCommand, pci::kCommandMemory, 2);
  EXPECT_EQ(a_->doorbells.attached.size(), 1u);
  a_->driver.reset();
  EXPECT_TRUE(a_->doorbells.attached.empty());
}

TEST_F(PciDeviceTest, ServesNothingWhileTheGuestStandsStill) {
  start();
  a_->device.quiesce();
  a_->driver.queue(0).add({{kData, 64, true}}, 0);
  a_->driver.kick(0);
  ::usleep(20'000);  // nothing tells that nothing happens
  EXPECT_EQ(a_->driver.queue(0).used_index(), 0);
  a_->device.resume();
  EXPECT_EQ(a_->driver.queue(0).wait_used(1).size(), 1u);
}

// What was asked for at the source and not served there is served at the target, once.
TEST_F(PciDeviceTest, GoesOnElsewhereInTheMiddleOfRequests) {
  start();
  uint16_t served = 0;
  std::unique_ptr<Machine> here = std::move(a_);
  for (int move = 0; move < 20; ++move) {
    for (int i = 0; i < 5; ++i) {
      here->driver.queue(0).add({{kData, 64, true}}, static_cast<uint16_t>(served++ % 16));
    }
    here->driver.kick(0);
    here->device.quiesce();
    const auto state = saved(here->device);
    auto next = std::make_unique<Machine>(memory_);
    ASSERT_TRUE(load_bytes(next->device, state)) << "rehearsal";
    ASSERT_TRUE(load_bytes(next->device, state));
    EXPECT_EQ(saved(next->device), state);
    next->driver = Driver(std::move(here->driver), next->device);
    next->device.resume();
    here = std::move(next);
    EXPECT_EQ(here->driver.queue(0).wait_used(5).size(), 5u);
    EXPECT_EQ(here->driver.queue(0).used_index(), served);
  }
}

TEST_F(PciDeviceTest, StandsAnyState) {
  start();
  expect_served(*a_, 0);
  a_->device.quiesce();
  struct Fixture {
    explicit Fixture(const std::shared_ptr<vmm::GuestMemory>& memory) : machine(memory) {}
    Machine machine;
    PciDevice& device = machine.device;
  };
  torture_state(saved(a_->device), [&] { return std::make_unique<Fixture>(memory_); });
}

TEST(PciRoot, StandsAnyState) {
  struct Fixture {
    pci::Root device;
  };
  torture_state(saved(pci::Root()), [] { return std::make_unique<Fixture>(); });
}

}  // namespace
}  // namespace godwit::devices::virtio
