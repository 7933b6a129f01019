// What only NBD disks do.
#include "devices/block/nbd_backend.h"

#include <atomic>

#include "devices/block/disk.h"
#include "devices/block/nbd_queue.h"
#include "tests/block/block_fixture.h"

namespace godwit::devices {
namespace {

class NbdDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!NbdServer::available()) GTEST_SKIP() << "no nbdkit here";
  }
  void serve(std::vector<std::string> arguments) {
    server_ = std::make_unique<NbdServer>(folder_.file("socket"), std::move(arguments));
  }
  Result<Disk> open(const std::string& more = "") {
    return open_disk(parse_disk("nbd=" + server_->uri() + more, "disk0").value(), DiskUse::kRun, 1);
  }
  void expect_refused(std::string_view naming, const std::string& more = "") {
    const auto disk = open(more);
    ASSERT_FALSE(disk);
    EXPECT_NE(disk.error().message.find(naming), std::string::npos) << disk.error().message;
    EXPECT_NE(disk.error().message.find(server_->uri()), std::string::npos) << disk.error().message;
  }

  TempFolder folder_;
  std::unique_ptr<NbdServer> server_;
};

TEST_F(NbdDiskTest, ServerThatIsNotThereIsNamed) {
  const auto disk =
      open_disk(parse_disk("nbd=nbd+unix:///?socket=" + folder_.file("none"), "disk0").value(),
                DiskUse::kRun, 1);
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().code, Errc::kIo);
  EXPECT_NE(disk.error().message.find("disk disk0: cannot connect to nbd+unix:///?socket="),
            std::string::npos)
      << disk.error().message;
}

TEST_F(NbdDiskTest, ReadOnlyExportNeedsReadonly) {
  serve({"-r", "memory", "1M"});
  expect_refused("only lets us read; give it readonly");
  EXPECT_TRUE(open(",readonly"));
}

TEST_F(NbdDiskTest, BlockSizesOfTheServerAreHonoured) {
  serve({"--filter=blocksize-policy", "memory", "1M", "blocksize-minimum=4096",
         "blocksize-preferred=65536", "blocksize-maximum=128K", "blocksize-error-policy=error"});
  auto disk = open().value();
  EXPECT_EQ(disk.backend->info().logical_block_bytes, 4096u);
  EXPECT_EQ(disk.backend->info().opt_io_bytes, 65536u);
  auto queue = disk.backend->create_queue().value();
  QueueDriver driver(*queue);
  const auto bytes = pattern(1u << 20, 1);  // more than the server takes at once
  EXPECT_EQ(EINVAL, driver.write(512, {bytes.data(), 512}));
  EXPECT_EQ(0, driver.write(0, bytes));
  std::vector<std::byte> back(1u << 20);
  std::vector<iovec> parts;
  for (size_t at = 0; at < back.size(); at += 1000) {
    parts.push_back({back.data() + at, std::min<size_t>(1000, back.size() - at)});
  }
  std::swap(parts.front(), parts[1]);  // so that they are not merged
  EXPECT_EQ(0, driver.run({BlockOp::kRead, false, 0, back.size(), parts}));
  std::rotate(back.begin(), back.begin() + 1000, back.begin() + 2000);
  EXPECT_TRUE(back == bytes);
}

TEST_F(NbdDiskTest, BlocksTooLargeForGuestsAreRefused) {
  serve({"--filter=blocksize-policy", "memory", "1M", "blocksize-minimum=65536",
         "blocksize-preferred=65536", "blocksize-maximum=1M", "blocksize-error-policy=error"});
  expect_refused("takes only multiples of 65536 bytes");
}

TEST_F(NbdDiskTest, OddSizeIsRefused) {
  serve({"memory", "1000"});
  expect_refused("1000 bytes, is no multiple of 512");
}

TEST_F(NbdDiskTest, QueuesNeedAServerWithMultiConn) {
  serve({"--filter=multi-conn", "memory", "1M", "multi-conn-mode=disable"});
  expect_refused("queues=2 is too many", ",queues=2");
  EXPECT_TRUE(open(",queues=2,readonly")) << "readers need no flush";
  EXPECT_TRUE(open());
}

TEST_F(NbdDiskTest, ErrorsOfTheServerArriveAsTheyAre) {
  serve({"--filter=error", "memory", "1M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%"});
  auto disk = open().value();
  auto queue = disk.backend->create_queue().value();
  QueueDriver driver(*queue);
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(ENOSPC, driver.write(0, memory));
  EXPECT_EQ(0, driver.read(0, memory));
}

TEST_F(NbdDiskTest, ManySmallPartsStayWithinTheBounds) {
  serve({"memory", "256M"});
  auto disk = open(",queue-size=16").value();
  auto queue = disk.backend->create_queue().value();
  QueueDriver driver(*queue);
  // 16 requests of 8 MiB in small parts: much more than the queue may buffer.
  auto memory = pattern(8u << 20, 3);
  std::vector<iovec> parts;
  for (size_t at = memory.size(); at > 0; at -= 4096) parts.push_back({&memory[at - 4096], 4096});
  std::vector<uint64_t> tags;
  for (uint64_t i = 0; i < 16; ++i) {
    tags.push_back(driver.new_tag());
    ASSERT_EQ(0, queue->submit({BlockOp::kWrite, false, i * memory.size(), memory.size(), parts,
                                tags.back()}));
  }
  queue->kick();
  EXPECT_LE(queue->counters().host_calls, NbdQueue::kMaxBounceBytes / NbdQueue::kGatherBytes);
  ASSERT_TRUE(driver.wait_all());
  for (const uint64_t tag : tags) EXPECT_EQ(0, driver.take_error(tag));
  const auto want = memory;
  std::fill(memory.begin(), memory.end(), std::byte{0});
  ASSERT_EQ(0, driver.run({BlockOp::kRead, false, 15 * memory.size(), memory.size(), parts}));
  EXPECT_TRUE(memory == want);
}

class NbdReconnectTest : public NbdDiskTest {
 protected:
  void SetUp() override {
    NbdDiskTest::SetUp();
    make_file(path_, 8u << 20);
  }
  void serve_file() { serve({"--filter=delay", "file", path_, "wdelay=20ms", "rdelay=20ms"}); }
  std::string path_ = folder_.file("disk.raw");
};

TEST_F(NbdReconnectTest, ServerKilledInMidFlightLosesNothing) {
  serve_file();
  auto disk = open().value();
  auto queue = disk.backend->create_queue().value();
  QueueDriver driver(*queue);
  std::vector<std::vector<std::byte>> bytes;
  std::vector<iovec> parts;
  for (uint64_t i = 0; i < 64; ++i) {
    bytes.push_back(pattern(128u << 10, i));
    parts.push_back({bytes.back().data(), bytes.back().size()});
  }
  std::vector<uint64_t> tags;
  for (uint64_t i = 0; i < 64; ++i) {
    tags.push_back(driver.new_tag());
    // Half as one piece, half gathered.
    const std::array<iovec, 2> halves{
        {{bytes[i].data(), 60'000}, {bytes[i].data() + 60'000, bytes[i].size() - 60'000}}};
    const std::span<const iovec> shape =
        i % 2 == 0 ? std::span<const iovec>(&parts[i], 1) : std::span<const iovec>(halves);
    ASSERT_EQ(0, queue->submit(
                     {BlockOp::kWrite, false, i * (128u << 10), 128u << 10, shape, tags.back()}));
  }
  queue->kick();
  for (int kills = 0; kills < 3; ++kills) {
    ASSERT_TRUE(driver.wait_some());
    server_->stop();
    for (int i = 0; i < 20; ++i) driver.reap_now();
    server_->start();
  }
  ASSERT_TRUE(driver.wait_all());
  for (const uint64_t tag : tags) EXPECT_EQ(0, driver.take_error(tag));
  EXPECT_GT(queue->counters().host_calls, 64u) << "some were done again";
  for (uint64_t i = 0; i < 64; ++i) {
    std::vector<std::byte> back(128u << 10);
    ASSERT_EQ(0, driver.read(i * (128u << 10), back));
    ASSERT_TRUE(back == bytes[i]) << i;
  }
}

TEST_F(NbdReconnectTest, ServerThatStaysAwayFailsRequestsUntilItIsBack) {
  serve_file();
  auto disk = open(",reconnect=1").value();
  auto queue = disk.backend->create_queue().value();
  QueueDriver driver(*queue);
  std::vector<std::byte> memory(4096);
  ASSERT_EQ(0, driver.write(0, memory));
  server_->stop();
  EXPECT_EQ(EIO, driver.write(0, memory));
  EXPECT_EQ(EIO, driver.flush());
  server_->start();
  // Attempts are a second apart at most; requests fail until one finds the server.
  const TimePoint deadline = now() + kPatience;
  int error = EIO;
  while (error == EIO && now() < deadline) {
    pollfd poll{queue->event_fd(), POLLIN, 0};
    (void)::poll(&poll, 1, 1000);
    driver.reap_now();
    error = driver.write(0, memory);
  }
  EXPECT_EQ(0, error);
  EXPECT_EQ(0, driver.flush());
}

TEST_F(NbdReconnectTest, ReconnectOffFailsAtOnce) {
  serve_file();
  auto disk = open(",reconnect=0").value();
  auto queue = disk.backend->create_queue().value();
  QueueDriver driver(*queue);
  server_->stop();
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(EIO, driver.read(0, memory));
}

TEST_F(NbdReconnectTest, AnotherDiskInItsPlaceIsNotTaken) {
  serve_file();
  auto disk = open(",reconnect=2").value();
  auto queue = disk.backend->create_queue().value();
  QueueDriver driver(*queue);
  server_->stop();
  ASSERT_EQ(0, ::truncate(path_.c_str(), 4u << 20));
  server_->start();
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(EIO, driver.read(0, memory));
}

TEST_F(NbdReconnectTest, QueueOfAFrozenServerCanBeDropped) {
  serve_file();
  auto disk = open().value();
  auto queue = disk.backend->create_queue().value();
  std::vector<std::byte> memory(4096);
  const iovec part{memory.data(), memory.size()};
  ASSERT_EQ(0, queue->submit({BlockOp::kRead, false, 0, 4096, {&part, 1}, 1}));
  server_->freeze();
  queue->kick();
  BlockCompletion done;
  EXPECT_EQ(0u, queue->reap({&done, 1}));
  queue.reset();
}

}  // namespace
}  // namespace godwit::devices
