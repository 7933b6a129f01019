// How the threads of a device go through a pause.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <mutex>

#include "devices/virtio/pci_device.h"
#include "tests/virtio/driver.h"

namespace godwit::devices::virtio {
namespace {

constexpr unsigned kThreads = 3;

// Writes down what it is told; its threads become quiet one after the other when the gate opens.
class Slow final : public Model {
 public:
  std::promise<void> gate;

  [[nodiscard]] std::string_view type() const override { return "virtio-slow"; }
  [[nodiscard]] uint16_t device_id() const override { return 63; }
  [[nodiscard]] uint32_t class_code() const override { return 0xff0000; }
  [[nodiscard]] uint64_t features() const override { return 0; }
  [[nodiscard]] std::vector<uint16_t> queue_sizes() const override { return {8, 8, 8}; }
  [[nodiscard]] unsigned threads() const override { return kThreads; }
  void read_config(uint32_t, std::span<std::byte> data) const override {
    std::ranges::fill(data, std::byte{0});
  }
  void start(Transport&, uint64_t, unsigned) override {}
  void stop(unsigned) override {}
  void notified(uint16_t) override {}
  void quiesce(unsigned thread) override {
    if (thread == 0) opened_.wait();
    note('q', thread);
  }
  void resume(unsigned thread) override { note('r', thread); }

  [[nodiscard]] std::string seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  void note(char what, unsigned thread) {
    const std::lock_guard lock(mutex_);
    seen_ += what;
    seen_ += static_cast<char>('0' + thread);
  }
  std::shared_future<void> opened_ = gate.get_future().share();
  mutable std::mutex mutex_;
  std::string seen_;
};

class PciPauseTest : public testing::Test {
 protected:
  std::shared_ptr<vmm::GuestMemory> memory_ = *vmm::GuestMemory::create({.size = 16_MiB});
  FakeMsi msi_;
  FakeDoorbells doorbells_;
  PciDevice device_{std::make_unique<Slow>(), {.slot = 3}, *memory_, msi_, doorbells_};
  Slow& model_ = static_cast<Slow&>(device_.model());
};

// So that all devices of a machine become quiet at once.
TEST_F(PciPauseTest, BeginningToBecomeQuietDoesNotWaitForIt) {
  device_.resume();
  device_.start_quiesce();
  device_.start_quiesce();
  EXPECT_EQ(model_.seen().find('q'), std::string::npos);
  model_.gate.set_value();
  device_.quiesce();
  EXPECT_EQ(model_.seen(), "r0r1r2q0q1q2");
}

TEST_F(PciPauseTest, ThreadsAreToldInOrderHoweverOftenItIsPaused) {
  model_.gate.set_value();
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    device_.resume();
    device_.quiesce();
    expected += "r0r1r2q0q1q2";
  }
  EXPECT_EQ(model_.seen(), expected);
}

TEST_F(PciPauseTest, ADeviceThatStandsStillHasNothingToWaitFor) {
  device_.start_quiesce();
  device_.quiesce();
  EXPECT_EQ(model_.seen(), "");
  model_.gate.set_value();
}

}  // namespace
}  // namespace godwit::devices::virtio
