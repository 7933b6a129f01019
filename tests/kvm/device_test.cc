// Devices of a Vm: their state, their interrupts, and accesses that no device could make.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "tests/kvm/require_kvm.h"
#include "tests/kvm/test_guest.h"

namespace godwit::vmm::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Its state is one number; keeps a diary of what it is told.
class Diary final : public Device {
 public:
  explicit Diary(std::string name, uint32_t number = 0) : number_(number), name_(std::move(name)) {}
  [[nodiscard]] std::string_view type() const override { return name_; }
  [[nodiscard]] uint16_t state_version() const override { return 2; }
  void quiesce() override { entries.push_back("quiesce"); }
  void resume() override { entries.push_back("resume"); }
  void save(ByteWriter& out) const override { out.u32(number_); }
  Result<> load(ByteReader& in, uint16_t version) override {
    const uint32_t number = in.u32();
    GODWIT_TRY(in.status());
    number_ = number;
    entries.push_back("load " + std::to_string(version));
    return {};
  }
  [[nodiscard]] uint32_t number() const { return number_; }
  std::vector<std::string> entries;

 private:
  uint32_t number_;
  std::string name_;
};

class DeviceTest : public testing::Test {
 protected:
  void SetUp() override { GODWIT_REQUIRE_KVM(); }
};

TEST_F(DeviceTest, StateTravelsInTheOrderOfTheDevices) {
  TestGuest source, target;
  Diary first("first", 17), second("second", 18), first_there("first"), second_there("second");
  source.vm().add_device(first);
  source.vm().add_device(second);
  target.vm().add_device(second_there);
  target.vm().add_device(first_there);
  const auto description = source.vm().describe();
  ASSERT_EQ(description.devices.size(), 2u);
  EXPECT_EQ(description.devices[0], (DeviceDescription{"first", 0, 2}));
  const auto loaded = target.vm().load(source.save(), std::nullopt);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(first_there.number(), 17u);
  EXPECT_EQ(second_there.number(), 18u);
  EXPECT_THAT(first_there.entries, ElementsAre("load 2"));
}

TEST_F(DeviceTest, OtherSetsOfDevicesAreRejected) {
  TestGuest plain, with_device;
  Diary device("clock");
  with_device.vm().add_device(device);
  const auto missing = with_device.vm().load(plain.save(), std::nullopt);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("clock"));
  EXPECT_FALSE(plain.vm().load(with_device.save(), std::nullopt));
}

TEST_F(DeviceTest, PauseQuietensAndResumeWakes) {
  TestGuest guest;
  Diary device("diary");
  guest.vm().add_device(device);
  guest.start(g_counter, {.rbx = kData});
  guest.vm().resume();
  guest.vm().pause();
  guest.vm().resume();
  EXPECT_THAT(device.entries, ElementsAre("resume", "quiesce", "resume"));
}

TEST_F(DeviceTest, InterruptLineIsPartOfTheSavedState) {
  TestGuest source;
  const auto irqchip = [&source] {
    for (auto& section : read_sections(source.save()).value()) {
      if (section.type == "x86-irqchip") return section.payload;
    }
    return std::vector<std::byte>{};
  };
  const auto idle = irqchip();
  EXPECT_EQ(irqchip(), idle);
  const auto line = source.vm().irq_line(10);
  line->set(true);
  EXPECT_NE(irqchip(), idle);
}

TEST_F(DeviceTest, InterruptLineMayOutliveTheVm) {
  std::unique_ptr<IrqLine> line;
  {
    TestGuest guest;
    line = guest.vm().irq_line(4);
  }
  line->set(true);
}

// A device whose host side fails must stop the guest, not the process.
class Broken final : public IoHandler {
 public:
  void read(uint64_t, std::span<std::byte>) override { throw std::runtime_error("disk on fire"); }
  void write(uint64_t, std::span<const std::byte>) override {}
};

TEST_F(DeviceTest, FailureInADeviceStopsTheVmAndSaysWhere) {
  TestGuest guest;
  Broken broken;
  guest.vm().mmio_bus().attach(0xd1000000, 0x1000, broken);
  guest.start(g_mmio, {.rbx = 0xd1000000, .rsi = 0xd1000000});
  guest.vm().resume();
  const std::string text = guest.wait_for_fault();
  EXPECT_THAT(text, HasSubstr("disk on fire"));
  EXPECT_THAT(text, HasSubstr("rip 0x"));
  guest.vm().pause();
  EXPECT_FALSE(guest.vm().running());
  guest.vm().resume();
  EXPECT_FALSE(guest.vm().running());
}

TEST_F(DeviceTest, RamThatKvmCannotReachIsAFaultNotADevice) {
  TestGuest guest;
  std::byte* page = guest.vm().memory().page(PageIndex{kData / kPageSize});
  ASSERT_EQ(mprotect(page, kPageSize, PROT_NONE), 0);
  guest.start(g_counter, {.rbx = kData});
  guest.vm().resume();
  EXPECT_THAT(guest.wait_for_fault(), HasSubstr("guest"));
  EXPECT_FALSE(guest.vm().running());
  guest.vm().shut_down();
  ASSERT_EQ(mprotect(page, kPageSize, PROT_READ | PROT_WRITE), 0);
}

}  // namespace
}  // namespace godwit::vmm::test
