#include "devices/virtio/block.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "devices/virtio/pci_layout.h"
#include "devices/virtio/spec.h"
#include "tests/devices/fakes.h"
#include "tests/devices/state_torture.h"
#include "tests/virtio/driver.h"

namespace godwit::devices::virtio {
namespace {

using testing::HasSubstr;

constexpr uint64_t kDiskBytes = 4 << 20;
constexpr uint64_t kGuest = 0x1234'5678'9abc'def0;
constexpr uint32_t kIn = 0, kOut = 1, kFlushRequest = 4, kGetId = 8, kDiscardRequest = 11,
                   kWriteZeroesRequest = 13;

struct Host {
  Host(std::shared_ptr<vmm::GuestMemory> m, const DiskConfig& config, bool arriving = false)
      : memory(std::move(m)) {
    auto disk = open_disk(config);
    EXPECT_TRUE(disk) << disk.error().message;
    auto model = std::make_unique<Block>(std::move(*disk));
    block = model.get();
    admitted = model->admit(kGuest, arriving);
    if (admitted)
      device = std::make_unique<PciDevice>(std::move(model), PciPlace{.slot = 1}, *memory, msi,
                                           doorbells);
  }
  std::shared_ptr<vmm::GuestMemory> memory;
  FakeMsi msi;
  FakeDoorbells doorbells;
  Block* block = nullptr;
  Result<> admitted;
  std::unique_ptr<PciDevice> device;
};

class BlockDeviceTest : public testing::Test {
 protected:
  static constexpr Gpa kHeaders{4 << 20};
  static constexpr Gpa kData{8 << 20};
  static constexpr Gpa kStatus{6 << 20};

  void SetUp() override {
    char name[] = "/tmp/godwit-blk-XXXXXX";
    const int fd = ::mkstemp(name);
    ASSERT_GE(fd, 0);
    path_ = name;
    ASSERT_EQ(::ftruncate(fd, kDiskBytes), 0);
    ::close(fd);
    config_.id = "data";
    config_.path = path_;
    config_.serial = "GW-1";
  }
  void TearDown() override {
    host_.reset();
    std::filesystem::remove(path_);
  }
  void start(uint16_t size = 64, uint64_t features = kEventIdx | kIndirect) {
    host_ = std::make_unique<Host>(memory_, config_);
    ASSERT_TRUE(host_->admitted) << host_->admitted.error().message;
    driver_.emplace(*host_->device, *memory_);
    host_->device->resume();
    driver_->start(features, config_.queues, size);
    ASSERT_EQ(driver_->status() & kNeedsReset, 0);
  }
  // Moves to another VMM of the same disk, as a migration does.
  void move() {
    host_->device->quiesce();
    const auto state = saved(*host_->device);
    auto next = std::make_unique<Host>(memory_, config_, true);
    ASSERT_TRUE(next->admitted) << next->admitted.error().message;
    ASSERT_TRUE(load_bytes(*next->device, state)) << "rehearsal";
    const auto loaded = load_bytes(*next->device, state);
    ASSERT_TRUE(loaded) << loaded.error().message;
    host_->device->release();
    Driver moved(std::move(*driver_), *next->device);
    driver_ = std::move(moved);
    next->device->resume();
    host_ = std::move(next);
  }

  struct Header {
    uint32_t type, reserved;
    uint64_t sector;
  };
  // A request in slot `n`: its header, its status byte and, with `bytes`, data at kData + n * 64K.
  uint16_t add(uint32_t type, uint64_t sector, uint32_t bytes, uint16_t n = 0, uint16_t queue = 0) {
    const Header header{type, 0, sector};
    EXPECT_TRUE(memory_->write(kHeaders + n * 16u, std::as_bytes(std::span(&header, 1))));
    const std::byte none{0xee};
    EXPECT_TRUE(memory_->write(kStatus + n, {&none, 1}));
    std::vector<DriverQueue::Part> parts{{kHeaders + n * 16u, 16}};
    const bool to_guest = type == kIn || type == kGetId;
    if (bytes > 0) parts.push_back({data(n), bytes, to_guest});
    parts.push_back({kStatus + n, 1, true});
    return driver_->queue(queue).add(parts, static_cast<uint16_t>(n * 3));
  }
  [[nodiscard]] static Gpa data(uint16_t n) { return kData + n * 65536u; }
  [[nodiscard]] int status(uint16_t n = 0) const {
    std::byte value{};
    EXPECT_TRUE(memory_->read(kStatus + n, {&value, 1}));
    return std::to_integer<int>(value);
  }
  int request(uint32_t type, uint64_t sector, uint32_t bytes) {
    add(type, sector, bytes);
    driver_->kick(0);
    EXPECT_EQ(driver_->queue(0).wait_used(1).size(), 1u);
    return status();
  }
  void fill(Gpa gpa, uint32_t bytes, int value) {
    const std::vector<std::byte> content(bytes, static_cast<std::byte>(value));
    ASSERT_TRUE(memory_->write(gpa, content));
  }
  [[nodiscard]] bool holds(Gpa gpa, uint32_t bytes, int value) const {
    const auto at = memory_->at(gpa, ByteCount{bytes});
    return std::all_of(at->begin(), at->end(),
                       [&](std::byte b) { return b == static_cast<std::byte>(value); });
  }

  std::string path_;
  DiskConfig config_;
  std::shared_ptr<vmm::GuestMemory> memory_ = *vmm::GuestMemory::create({.size = 16_MiB});
  std::unique_ptr<Host> host_;
  std::optional<Driver> driver_;
};

TEST_F(BlockDeviceTest, TellsWhatTheDiskIs) {
  start();
  EXPECT_EQ(driver_->read_device(0, 8), kDiskBytes / 512);
  EXPECT_EQ(driver_->read_device(20, 4), 512u);
  EXPECT_EQ(driver_->read_device(12, 4), config_.queue_size - 2);
  EXPECT_NE(driver_->offered() & feature(9), 0u) << "flush";
  EXPECT_EQ(driver_->offered() & feature(5), 0u) << "read-only";
}

TEST_F(BlockDeviceTest, ReadsWhatWasWritten) {
  start();
  fill(data(0), 8192, 0x5a);
  EXPECT_EQ(request(kOut, 16, 8192), kBlockOk);
  EXPECT_EQ(request(kFlushRequest, 0, 0), kBlockOk);
  fill(data(0), 8192, 0);
  EXPECT_EQ(request(kIn, 16, 8192), kBlockOk);
  EXPECT_TRUE(holds(data(0), 8192, 0x5a));
  EXPECT_EQ(request(kIn, 32, 512), kBlockOk);
  EXPECT_TRUE(holds(data(0), 512, 0));
  EXPECT_EQ(host_->block->counters().failed, 0u);
}

TEST_F(BlockDeviceTest, SaysItsSerialNumber) {
  start();
  EXPECT_EQ(request(kGetId, 0, 20), kBlockOk);
  char id[21] = {};
  ASSERT_TRUE(memory_->read(data(0), std::as_writable_bytes(std::span(id, 20))));
  EXPECT_STREQ(id, "GW-1");
}

TEST_F(BlockDeviceTest, AnswersWhatCannotBeWithAnError) {
  start();
  EXPECT_EQ(request(kIn, kDiskBytes / 512, 512), kBlockError) << "beyond the end";
  EXPECT_EQ(request(kOut, kDiskBytes / 512 - 1, 1024), kBlockError) << "across the end";
  EXPECT_EQ(request(kIn, UINT64_MAX, 512), kBlockError);
  EXPECT_EQ(request(kIn, UINT64_MAX / 512, 512), kBlockError);
  EXPECT_EQ(request(kIn, 0, 100), kBlockError) << "no whole sectors";
  EXPECT_EQ(request(kIn, 0, 0), kBlockError);
  EXPECT_EQ(request(77, 0, 512), kBlockUnsupported);
  EXPECT_EQ(std::filesystem::file_size(path_), kDiskBytes);
  EXPECT_EQ(driver_->status() & kNeedsReset, 0);
}

TEST_F(BlockDeviceTest, TakesFramesHoweverTheyAreCut) {
  start();
  // Header in two pieces, the second with data; data and status in one buffer.
  const Header header{kIn, 0, 0};
  ASSERT_TRUE(memory_->write(kHeaders, std::as_bytes(std::span(&header, 1))));
  fill(data(0), 1024, 0x77);
  driver_->queue(0).add(
      {{kHeaders, 7}, {kHeaders + 7, 9}, {data(0), 300, true}, {data(0) + 300, 213, true}}, 0);
  driver_->kick(0);
  const auto used = driver_->queue(0).wait_used(1);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].written, 513u);
  EXPECT_TRUE(holds(data(0), 513, 0)) << "512 bytes of the disk and the status";
  EXPECT_TRUE(holds(data(0) + 513, 100, 0x77)) << "wrote beyond";
}

TEST_F(BlockDeviceTest, NeedsAResetAfterARequestWithoutAFrame) {
  start();
  driver_->queue(0).add({{kHeaders, 15}, {kStatus, 1, true}}, 0);
  driver_->kick(0);
  EXPECT_TRUE(host_->msi.wait_for(1, 1));
  EXPECT_NE(driver_->status() & kNeedsReset, 0);
}

TEST_F(BlockDeviceTest, DiscardsAndWritesZeroes) {
  start();
  if ((driver_->offered() & feature(14)) == 0) GTEST_SKIP() << "no write-zeroes here";
  fill(data(0), 65536, 0x11);
  ASSERT_EQ(request(kOut, 0, 65536), kBlockOk);
  const struct {
    uint64_t sector;
    uint32_t sectors, flags;
  } range{8, 16, 0};
  ASSERT_TRUE(memory_->write(data(0), std::as_bytes(std::span(&range, 1))));
  EXPECT_EQ(request(kWriteZeroesRequest, 0, 16), kBlockOk);
  EXPECT_EQ(request(kIn, 0, 65536), kBlockOk);
  EXPECT_TRUE(holds(data(0), 4096, 0x11));
  EXPECT_TRUE(holds(data(0) + 4096, 8192, 0));
  EXPECT_TRUE(holds(data(0) + 12288, 4096, 0x11));
  const struct {
    uint64_t sector;
    uint32_t sectors, flags;
  } lies[] = {{UINT64_MAX / 2, 1, 0}, {0, UINT32_MAX, 0}, {kDiskBytes / 512, 1, 0}};
  for (const auto& lie : lies) {
    ASSERT_TRUE(memory_->write(data(0), std::as_bytes(std::span(&lie, 1))));
    EXPECT_EQ(request(kWriteZeroesRequest, 0, 16), kBlockError);
    EXPECT_NE(request(kDiscardRequest, 0, 16), kBlockOk);
  }
}

TEST_F(BlockDeviceTest, ReadOnlyDisksAreNotWritten) {
  config_.read_only = true;
  start();
  EXPECT_NE(driver_->offered() & feature(5), 0u);
  EXPECT_EQ(request(kOut, 0, 512), kBlockError);
  EXPECT_EQ(request(kIn, 0, 512), kBlockOk);
}

TEST_F(BlockDeviceTest, ServesManyRequestsOfSeveralQueuesAtOnce) {
  config_.queues = 3;
  start();
  for (uint16_t q = 0; q < 3; ++q) {
    for (uint16_t i = 0; i < 7; ++i) {
      const auto n = static_cast<uint16_t>(q * 7 + i);
      fill(data(n), 4096, n + 1);
      add(kOut, n * 8u, 4096, n, q);
    }
    driver_->kick(q);
  }
  for (uint16_t q = 0; q < 3; ++q) EXPECT_EQ(driver_->queue(q).wait_used(7).size(), 7u);
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  for (uint16_t n = 0; n < 21; ++n) {
    EXPECT_EQ(status(n), kBlockOk);
    char byte = 0;
    ASSERT_EQ(::pread(fd, &byte, 1, n * 4096), 1);
    EXPECT_EQ(byte, n + 1);
  }
  ::close(fd);
}

TEST_F(BlockDeviceTest, MoreRequestsThanItHasRoomForAreServedAll) {
  config_.queue_size = 16;
  start(16);
  for (int round = 0; round < 50; ++round) {
    for (uint16_t n = 0; n < 5; ++n) add(n % 2 == 0 ? kIn : kOut, n * 8u, 4096, n);
    driver_->kick(0);
    ASSERT_EQ(driver_->queue(0).wait_used(5).size(), 5u) << "round " << round;
  }
  EXPECT_EQ(host_->block->counters().requests, 250u);
}

TEST_F(BlockDeviceTest, ADriverMayResetItAmidRequests) {
  start();
  for (int round = 0; round < 20; ++round) {
    for (uint16_t n = 0; n < 10; ++n) add(kOut, n * 8u, 4096, n);
    driver_->kick(0);
    driver_->start(kEventIdx, 1, 64);
    // What was begun before may write nothing now.
    fill(kStatus, 64, 0xee);
    ASSERT_TRUE(holds(kStatus, 64, 0xee));
  }
  EXPECT_EQ(request(kIn, 0, 512), kBlockOk);
}

// Every request that was asked for is answered once, on whichever side; what was answered is on the
// disk.
TEST_F(BlockDeviceTest, MovesWithRequestsInFlightAndTakesItsLockAlong) {
  start();
  std::mt19937 random(7);
  uint16_t total = 0;
  for (int round = 0; round < 12; ++round) {
    for (uint16_t n = 0; n < 20; ++n) {
      fill(data(n), 4096, round + 1);
      add(kOut, n * 8u, 4096, n);
      if (random() % 3 == 0) driver_->kick(0);
    }
    driver_->kick(0);
    move();
    total = static_cast<uint16_t>(total + 20);
    ASSERT_EQ(driver_->queue(0).wait_used(20).size(), 20u);
    EXPECT_EQ(driver_->queue(0).used_index(), total) << "something was done twice";
    for (uint16_t n = 0; n < 20; ++n) EXPECT_EQ(status(n), kBlockOk);
  }
  for (uint16_t n = 0; n < 20; ++n) {
    ASSERT_EQ(request(kIn, n * 8u, 4096), kBlockOk);
    EXPECT_TRUE(holds(data(0), 4096, 12));
  }
}

TEST_F(BlockDeviceTest, GoesOnWhereItWasAfterAMoveThatFailed) {
  start();
  host_->device->quiesce();
  {
    const Host target(memory_, config_, true);
    ASSERT_TRUE(target.admitted);
    host_->device->release();
  }
  host_->device->resume();
  EXPECT_EQ(request(kOut, 0, 512), kBlockOk);
}

TEST_F(BlockDeviceTest, AGuestThatLostItsDiskGetsErrors) {
  start();
  host_->device->quiesce();
  {
    Host target(memory_, config_, true);
    ASSERT_TRUE(target.admitted);
    host_->device->release();
    target.device->resume();  // it has the disk now
    host_->device->resume();
    EXPECT_EQ(request(kOut, 0, 512), kBlockError);
    host_->device->quiesce();
  }
}

TEST_F(BlockDeviceTest, AnotherGuestsDiskIsRefusedByName) {
  start();
  auto disk = open_disk(config_);
  ASSERT_TRUE(disk);
  Block other(std::move(*disk));
  const auto admitted = other.admit(kGuest + 1, false);
  ASSERT_FALSE(admitted);
  EXPECT_THAT(admitted.error().message, HasSubstr("disk data"));
  auto again = open_disk(config_);
  ASSERT_TRUE(again);
  Block arriving(std::move(*again));
  EXPECT_FALSE(arriving.admit(kGuest + 1, true)) << "another guest's target";
}

TEST_F(BlockDeviceTest, StandsAnyState) {
  start();
  ASSERT_EQ(request(kIn, 0, 512), kBlockOk);
  host_->device->quiesce();
  const auto state = saved(*host_->device);
  host_.reset();
  config_.lock = false;
  struct Fixture {
    Fixture(const std::shared_ptr<vmm::GuestMemory>& memory, const DiskConfig& config)
        : host(memory, config) {}
    Host host;
    PciDevice& device = *host.device;
  };
  torture_state(state, [&] { return std::make_unique<Fixture>(memory_, config_); });
}

TEST_F(BlockDeviceTest, ManyRequestsCostOneCallOfTheHostAndOneInterrupt) {
  start();
  for (uint16_t n = 0; n < 20; ++n) add(kIn, n * 8u, 4096, n);
  // The driver wants to hear of the last one only.
  driver_->queue(0).set_used_event(19);
  driver_->kick(0);
  ASSERT_EQ(driver_->queue(0).wait_used(20).size(), 20u);
  host_->device->quiesce();
  EXPECT_LE(host_->msi.count(0), 2) << "the first is told because nothing is known yet";
}

}  // namespace
}  // namespace godwit::devices::virtio
