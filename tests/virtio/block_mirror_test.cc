// A virtio disk that its driver writes without a pause while the migration engine copies it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "devices/virtio/block.h"
#include "devices/virtio/spec.h"
#include "migration/source.h"
#include "migration/target.h"
#include "tests/support/fake_machine.h"
#include "tests/support/faulty_link.h"
#include "tests/virtio/driver.h"

namespace godwit::devices::virtio {
namespace {

constexpr uint64_t kDiskBytes = (16 << 20) + 512;
constexpr uint16_t kWriters = 8;  // requests at a time, each in a part of the disk of its own
constexpr uint64_t kPart = kDiskBytes / kWriters / 512;  // sectors
constexpr uint32_t kMostSectors = 128;
constexpr uint32_t kOut = 1, kDiscardRequest = 11, kWriteZeroesRequest = 13;

struct Header {
  uint32_t type, reserved;
  uint64_t sector;
};
struct Range {
  uint64_t sector;
  uint32_t sectors, flags;
};

// A machine of the engine's tests with a real disk, whose driver is a thread.
class DiskMachine final : public support::FakeMachine {
 public:
  DiskMachine(support::World& world, const support::FakeGuest& guest, bool fill, Disk disk,
              bool arriving)
      : FakeMachine(world, guest, fill) {
    auto model = std::make_unique<Block>(std::move(disk));
    block_ = model.get();
    EXPECT_TRUE(model->admit(1, arriving));
    device_ = std::make_unique<PciDevice>(std::move(model), PciPlace{.slot = 1}, *ring_memory_,
                                          msi_, doorbells_);
  }
  ~DiskMachine() override { stop_writing(); }

  std::vector<vmm::StorageVolume*> volumes() override { return {block_->volume()}; }
  vmm::PauseTimes pause() override {
    stop_writing();
    device_->quiesce();
    return FakeMachine::pause();
  }
  void resume() override {
    FakeMachine::resume();
    device_->resume();
    if (driver_ && !writer_.joinable())
      writer_ = std::jthread([this](const std::stop_token& stop) { write(stop); });
  }
  void release() override { device_->release(); }
  void start_driver() {
    driver_.emplace(*device_, *ring_memory_);
    device_->resume();
    driver_->start(kIndirect, 1, 64);
    device_->quiesce();  // until the machine runs
  }
  [[nodiscard]] uint64_t requests() const { return block_->counters().requests; }
  [[nodiscard]] uint64_t failed() const { return block_->counters().failed; }

 private:
  static constexpr Gpa kHeaders{4 << 20}, kStatus{5 << 20}, kData{8 << 20};

  void stop_writing() {
    writer_.request_stop();
    if (writer_.joinable()) writer_.join();
  }
  void write(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      for (uint16_t n = 0; n < kWriters; ++n) add(n);
      driver_->kick(0);
      ASSERT_EQ(driver_->queue(0).wait_used(kWriters).size(), kWriters);
    }
  }
  void add(uint16_t n) {
    const auto sectors = static_cast<uint32_t>(random_() % kMostSectors + 1);
    const uint64_t sector = kPart * n + random_() % (kPart - sectors);
    const uint32_t kind = random_() % 8 == 0   ? kWriteZeroesRequest
                          : random_() % 8 == 0 ? kDiscardRequest
                                               : kOut;
    const Header header{kind, 0, kind == kOut ? sector : 0};
    ASSERT_TRUE(ring_memory_->write(kHeaders + n * 16u, std::as_bytes(std::span(&header, 1))));
    const Gpa data = kData + n * (kMostSectors * 512u);
    uint32_t bytes = sectors * 512;
    if (kind == kOut) {
      std::vector<uint64_t> words(bytes / 8);
      for (uint64_t& word : words) word = random_();
      ASSERT_TRUE(ring_memory_->write(data, std::as_bytes(std::span(words))));
    } else {
      const Range range{sector, sectors, 0};
      bytes = sizeof range;
      ASSERT_TRUE(ring_memory_->write(data, std::as_bytes(std::span(&range, 1))));
    }
    driver_->queue(0).add({{kHeaders + n * 16u, 16}, {data, bytes}, {kStatus + n, 1, true}},
                          static_cast<uint16_t>(n * 3));
  }

  std::unique_ptr<vmm::GuestMemory> ring_memory_ =
      vmm::GuestMemory::create({.size = 16_MiB}).value();
  FakeMsi msi_;
  FakeDoorbells doorbells_;
  Block* block_ = nullptr;
  std::unique_ptr<PciDevice> device_;
  std::optional<Driver> driver_;
  std::mt19937_64 random_{42};
  std::jthread writer_;
};

class DiskFactory final : public vmm::MachineFactory {
 public:
  DiskFactory(support::World& world, const support::FakeGuest& guest, DiskConfig config)
      : world_(world), guest_(guest), config_(std::move(config)) {}
  Result<std::unique_ptr<vmm::Machine>> create(const vmm::MachineDescription& wanted) override {
    EXPECT_EQ(wanted.volumes.size(), 1u);
    GODWIT_ASSIGN(auto disk, open_disk(config_, &wanted.volumes.at(0)));
    return std::unique_ptr<vmm::Machine>(
        std::make_unique<DiskMachine>(world_, guest_, false, std::move(disk), true));
  }

 private:
  support::World& world_;
  support::FakeGuest guest_;
  DiskConfig config_;
};

class BlockMirror : public testing::TestWithParam<DiskAio> {
 protected:
  BlockMirror() {
    std::string name = "./godwit-mirror-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    folder_ = name;
  }
  ~BlockMirror() override { std::filesystem::remove_all(folder_); }
  DiskConfig config(const std::string& name) const {
    DiskConfig disk;
    disk.id = "disk0";
    disk.path = folder_ / name;
    disk.aio = GetParam();
    return disk;
  }
  static std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::filesystem::path folder_;
};

TEST_P(BlockMirror, IsEqualAfterAMoveUnderWrites) {
  const DiskConfig from = config("from");
  std::ofstream(from.path).close();
  std::filesystem::resize_file(from.path, kDiskBytes);
  DiskConfig to = config("to");
  to.create = true;
  support::World world;
  const support::FakeGuest guest{.memory = 16_MiB, .working_set_pages = 64, .filled_pages = 64};
  DiskMachine machine(world, guest, true, open_disk(from).value(), false);
  machine.start_driver();
  machine.resume();

  support::FaultyLink link;
  DiskFactory factory(world, guest, to);
  migration::MigrationParameters parameters;
  parameters.copy_storage = true;
  parameters.downtime_limit = std::chrono::seconds(10);
  parameters.max_bandwidth_bytes_per_second = 100 << 20;  // so that there is something meanwhile
  uint64_t requests_before = 0;
  migration::MigrationSource source(
      machine, link.connector(), parameters, [&](const migration::Progress& progress) {
        if (requests_before == 0 && progress.storage && progress.storage->passes > 0)
          requests_before = machine.requests();
      });
  migration::MigrationTarget target(link.acceptor(), factory, {});
  migration::TargetResult arrived;
  std::jthread receiving([&] { arrived = target.run(); });
  const auto result = source.run();
  receiving.join();
  ASSERT_EQ(result.progress.status, migration::Status::kCompleted) << result.error->message;
  EXPECT_GT(machine.requests(), requests_before) << "written while it was copied";
  EXPECT_EQ(machine.failed(), 0u);
  arrived.machine->pause();
  EXPECT_TRUE(content(from.path) == content(to.path));
}

INSTANTIATE_TEST_SUITE_P(Each, BlockMirror, testing::Values(DiskAio::kAuto, DiskAio::kThreads));

}  // namespace
}  // namespace godwit::devices::virtio
