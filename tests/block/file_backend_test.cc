// What only files and block devices do.
#include "devices/block/file_backend.h"

#include <sys/mount.h>

#include <algorithm>

#include "devices/block/disk.h"
#include "devices/block/thread_queue.h"
#include "devices/block/uring_queue.h"
#include "tests/block/block_fixture.h"

namespace godwit::devices {
namespace {

// A mount that is gone at the end, however the test ends.
class Mount {
 public:
  Mount(const std::string& what, std::string where, const char* type, const char* options)
      : where_(std::move(where)),
        done_(::mount(what.c_str(), where_.c_str(), type, 0, options) == 0) {}
  ~Mount() { unmount(); }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;
  [[nodiscard]] bool done() const { return done_; }
  void unmount() {
    if (!std::exchange(done_, false)) return;
    EXPECT_EQ(0, ::umount2(where_.c_str(), MNT_DETACH));
  }

 private:
  std::string where_;
  bool done_;
};

class FileDiskTest : public ::testing::Test {
 protected:
  Result<Disk> open(const std::string& more = "") const {
    return open_disk(parse_disk("path=" + path_ + more, "disk0").value(), DiskUse::kRun, 1);
  }
  void expect_refused(Errc code, std::string_view naming, const std::string& more = "") const {
    const auto disk = open(more);
    ASSERT_FALSE(disk);
    EXPECT_EQ(disk.error().code, code) << disk.error().message;
    EXPECT_NE(disk.error().message.find(naming), std::string::npos) << disk.error().message;
    EXPECT_NE(disk.error().message.find(path_), std::string::npos) << disk.error().message;
  }

  TempFolder folder_;
  std::string path_ = folder_.file("disk.raw");
};

TEST_F(FileDiskTest, WhatCannotBeADiskIsRefusedByName) {
  expect_refused(Errc::kNotFound, "cannot find");
  make_file(path_, 0);
  expect_refused(Errc::kInvalidArgument, "is empty");
  make_file(path_, 1000);
  expect_refused(Errc::kInvalidArgument, "1000 bytes, is no multiple of 512");
  ::unlink(path_.c_str());
  ASSERT_EQ(0, ::mkfifo(path_.c_str(), 0600));
  expect_refused(Errc::kInvalidArgument, "neither a regular file nor a block device");
  ::unlink(path_.c_str());
  ASSERT_EQ(0, ::mkdir(path_.c_str(), 0700));
  expect_refused(Errc::kInvalidArgument, "neither a regular file nor a block device");
}

TEST_F(FileDiskTest, DiskInUseIsRefusedAndReadersAreNot) {
  make_file(path_, 4096);
  {
    const auto writer = open();
    ASSERT_TRUE(writer) << writer.error().message;
    expect_refused(Errc::kPrecondition, "in use by another VMM");
    expect_refused(Errc::kPrecondition, "in use by another VMM", ",readonly");
    EXPECT_TRUE(open(",lock=off"));
  }
  const auto reader = open(",readonly");
  EXPECT_TRUE(open(",readonly"));
  expect_refused(Errc::kPrecondition, "in use by another VMM");
}

TEST_F(FileDiskTest, IncomingDiskIsClaimedAndTakenOver) {
  make_file(path_, 4096);
  const auto config = parse_disk("path=" + path_, "disk0").value();
  auto source = open_disk(config, DiskUse::kRun, 5).value();
  auto target = open_disk(config, DiskUse::kIncoming, 5).value();
  EXPECT_FALSE(target.lock->owned());
  EXPECT_FALSE(open_disk(config, DiskUse::kIncoming, 6));
  ASSERT_TRUE(source.lock->release());
  ASSERT_TRUE(target.lock->take_over());
  EXPECT_TRUE(target.backend->invalidate_cache());
}

TEST_F(FileDiskTest, LockOfAnIoUringDiskIsFreeAsSoonAsItIsClosed) {
  make_file(path_, 1u << 20);
  for (int i = 0; i < 50; ++i) {
    auto disk = open();
    ASSERT_TRUE(disk) << i << ": " << disk.error().message;
    auto queue = disk->backend->create_queue().value();
    QueueDriver driver(*queue);
    std::vector<std::byte> memory(4096);
    ASSERT_EQ(0, driver.write(0, memory));
  }
}

TEST_F(FileDiskTest, OneSystemCallCarriesManyRequests) {
  make_file(path_, 1u << 20);
  const auto disk = open(",aio=io_uring");
  const auto queue = disk.value().backend->create_queue();
  if (!queue) GTEST_SKIP() << queue.error().message;
  std::vector<std::byte> memory(512 * 200);
  const iovec part{memory.data(), 512};
  for (uint64_t i = 0; i < 200; ++i) {
    ASSERT_EQ(0, (*queue)->submit({BlockOp::kRead, false, 512 * i, 512, {&part, 1}, i}));
  }
  EXPECT_EQ(0u, (*queue)->counters().host_calls);
  (*queue)->kick();
  EXPECT_EQ(1u, (*queue)->counters().host_calls);
  (*queue)->kick();
  QueueDriver driver(**queue);
  ASSERT_TRUE(driver.wait_all());
  EXPECT_EQ(1u, (*queue)->counters().host_calls) << "to reap costs none";
  EXPECT_EQ(200u, (*queue)->counters().completed);
}

TEST_F(FileDiskTest, FullFileSystemIsReportedAndTheDiskLivesOn) {
  const TempFolder place;
  const Mount mount("tmpfs", place.file(""), "tmpfs", "size=64k");
  if (!mount.done()) GTEST_SKIP() << "no mount() here: " << std::generic_category().message(errno);
  path_ = place.file("disk.raw");
  make_file(path_, 1u << 20);
  for (const char* aio : {"io_uring", "threads"}) {
    auto disk = open(std::string(",aio=") + aio).value();
    auto queue = disk.backend->create_queue();
    if (!queue) continue;
    QueueDriver driver(**queue);
    const auto bytes = pattern(512u << 10, 1);
    EXPECT_EQ(ENOSPC, driver.write(0, bytes)) << aio;
    EXPECT_EQ(1u, (*queue)->counters().failed);
    EXPECT_EQ(0, driver.discard(0, 1u << 20));
    EXPECT_EQ(0, driver.write(0, {bytes.data(), 4096}));
  }
  EXPECT_EQ(file_size(path_), 1u << 20);
}

TEST_F(FileDiskTest, FileCutShortBehindOurBackIsAnErrorNotAHang) {
  make_file(path_, 1u << 20);
  for (const char* more : {",aio=io_uring,direct=off", ",aio=threads,direct=auto"}) {
    auto disk = open(more).value();
    auto queue = disk.backend->create_queue();
    if (!queue) continue;
    ASSERT_EQ(0, ::truncate(path_.c_str(), 4096));
    QueueDriver driver(**queue);
    std::vector<std::byte> memory(16384);
    EXPECT_EQ(EIO, driver.read(0, memory));
    ASSERT_EQ(0, ::truncate(path_.c_str(), 1u << 20));
    EXPECT_EQ(0, driver.read(0, memory));
  }
}

// The file systems that lack fallocate's modes are not at hand; the queue learns it in this way.
TEST_F(FileDiskTest, ZeroesAreWrittenWhereTheFileSystemCannotMakeThem) {
  make_file(path_, 4u << 20);
  const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  BlockFile file;
  file.fd = fd.get();
  FileTransfer transfer;
  const auto bytes = pattern(4u << 20, 9);
  ASSERT_EQ(static_cast<ssize_t>(bytes.size()), ::pwrite(fd.get(), bytes.data(), bytes.size(), 0));
  transfer.start(file, {BlockOp::kWriteZeroes, true, 512, 3u << 20});
  EXPECT_EQ(FileCall::Kind::kFallocate, transfer.next().kind);
  EXPECT_EQ(std::nullopt, transfer.answer(-EOPNOTSUPP));
  EXPECT_EQ(FileCall::Kind::kFallocate, transfer.next().kind);
  EXPECT_EQ(std::nullopt, transfer.answer(-EOPNOTSUPP));
  std::optional<int> over;
  for (int calls = 0; !over && calls < 100; ++calls) {
    ASSERT_EQ(FileCall::Kind::kWritev, transfer.next().kind);
    over = transfer.answer(perform(file, transfer.next()));
  }
  EXPECT_EQ(0, over);
  EXPECT_FALSE(file.punches_holes);
  EXPECT_FALSE(file.zeroes_ranges);
  std::vector<std::byte> back(bytes.size());
  ASSERT_EQ(static_cast<ssize_t>(back.size()), ::pread(fd.get(), back.data(), back.size(), 0));
  EXPECT_TRUE(all_zero(std::span(back).subspan(512, 3u << 20)));
  EXPECT_TRUE(std::equal(back.begin(), back.begin() + 512, bytes.begin()));
  EXPECT_TRUE(
      std::equal(back.begin() + 512 + (3 << 20), back.end(), bytes.begin() + 512 + (3 << 20)));
  // The next one does not ask again.
  transfer.start(file, {BlockOp::kWriteZeroes, true, 0, 512});
  EXPECT_EQ(FileCall::Kind::kWritev, transfer.next().kind);
  // A discard is a hint.
  transfer.start(file, {BlockOp::kDiscard, false, 0, 512});
  EXPECT_EQ(FileCall::Kind::kFallocate, transfer.next().kind);
  EXPECT_EQ(0, transfer.answer(-EOPNOTSUPP));
}

TEST(FileTransfer, ShortAndInterruptedAnswersAreContinued) {
  BlockFile file;
  FileTransfer transfer;
  std::vector<std::byte> memory(4096);
  const std::array<iovec, 2> parts{{{memory.data() + 2048, 2048}, {memory.data(), 2048}}};
  transfer.start(file, {BlockOp::kRead, false, 8192, 4096, parts, 7});
  EXPECT_EQ(std::nullopt, transfer.answer(-EINTR));
  EXPECT_EQ(8192u, transfer.next().offset);
  EXPECT_EQ(std::nullopt, transfer.answer(2050));
  const FileCall rest = transfer.next();
  EXPECT_EQ(8192u + 2050, rest.offset);
  ASSERT_EQ(1u, rest.iov.size());
  EXPECT_EQ(memory.data() + 2, rest.iov[0].iov_base);
  EXPECT_EQ(2046u, rest.iov[0].iov_len);
  EXPECT_EQ(0, transfer.answer(2046));
  EXPECT_EQ(7u, transfer.tag());
}

TEST(FileTransfer, ShortDirectAnswersGoBackToTheBlock) {
  BlockFile file;
  file.direct = true;
  file.memory_alignment = 1;
  file.length_alignment = 512;
  FileTransfer transfer;
  std::vector<std::byte> memory(4096);
  const iovec part{memory.data(), 4096};
  transfer.start(file, {BlockOp::kWrite, false, 0, 4096, {&part, 1}});
  (void)transfer.next();
  EXPECT_EQ(std::nullopt, transfer.answer(1300));
  EXPECT_EQ(1024u, transfer.next().offset);
  EXPECT_EQ(EIO, transfer.answer(100)) << "no progress";
}

TEST(FileTransfer, HostThatOnlySaysAgainIsGivenUp) {
  BlockFile file;
  FileTransfer transfer;
  transfer.start(file, {BlockOp::kFlush});
  std::optional<int> over;
  for (int i = 0; i < 1000 && !over; ++i) {
    (void)transfer.next();
    over = transfer.answer(-EAGAIN);
  }
  EXPECT_EQ(EAGAIN, over);
}

class LoopDiskTest : public FileDiskTest {
 protected:
  void SetUp() override {
    make_file(path_, 8u << 20);
    attach("");
  }
  void attach(const std::string& options) {
    const std::string command =
        fmt::format("losetup --find --show {} {} 2>/dev/null", options, path_);
    FILE* const pipe = ::popen(command.c_str(), "r");
    std::array<char, 64> line{};
    const char* const got = ::fgets(line.data(), line.size(), pipe);
    if (::pclose(pipe) != 0 || got == nullptr) GTEST_SKIP() << "no loop device to be had";
    backing_ = path_;
    path_ = line.data();
    path_.pop_back();
  }
  void TearDown() override {
    if (backing_.empty()) return;
    EXPECT_EQ(0, run_shell("losetup -d " + path_));
  }
  std::string backing_;
};

TEST_F(LoopDiskTest, BlockDeviceReadsWritesZeroesAndDiscards) {
  for (const char* more : {",aio=io_uring", ",aio=threads"}) {
    auto disk = open(more).value();
    const BlockInfo& info = disk.backend->info();
    EXPECT_EQ(info.size_bytes, 8u << 20);
    EXPECT_GE(info.logical_block_bytes, 512u);
    auto queue = disk.backend->create_queue();
    if (!queue) continue;
    QueueDriver driver(**queue);
    const auto bytes = pattern(1u << 20, 11);
    ASSERT_EQ(0, driver.write(4096, bytes));
    ASSERT_EQ(0, driver.write_zeroes(8192, 4096, true));
    ASSERT_EQ(0, driver.write_zeroes(16384, 4096, false));
    EXPECT_EQ(info.can_discard ? 0 : EOPNOTSUPP, driver.discard(32768, 65536));
    ASSERT_EQ(0, driver.flush());
    std::vector<std::byte> back(1u << 20);
    ASSERT_EQ(0, driver.read(4096, back));
    EXPECT_TRUE(all_zero(std::span(back).subspan(4096, 4096)));
    EXPECT_TRUE(all_zero(std::span(back).subspan(12288, 4096)));
    EXPECT_TRUE(std::equal(back.begin(), back.begin() + 4096, bytes.begin()));
    EXPECT_TRUE(disk.backend->invalidate_cache());
  }
}

TEST_F(LoopDiskTest, MountedDeviceIsRefused) {
  if (run_shell("mkfs.ext4 -q " + path_ + " >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "no mkfs.ext4 here";
  }
  const std::string where = folder_.file("mnt");
  ASSERT_EQ(0, ::mkdir(where.c_str(), 0700));
  Mount mount(path_, where, "ext4", nullptr);
  if (!mount.done()) GTEST_SKIP() << "no mount() here: " << std::generic_category().message(errno);
  expect_refused(Errc::kInvalidArgument, "in use by this host (mounted");
  mount.unmount();
  EXPECT_TRUE(open());
}

TEST_F(LoopDiskTest, LogicalBlocksOf4096AreTold) {
  ASSERT_EQ(0, run_shell("losetup -d " + path_));
  path_ = std::exchange(backing_, "");
  attach("--sector-size 4096");
  if (IsSkipped()) return;
  auto disk = open().value();
  EXPECT_EQ(disk.backend->info().logical_block_bytes, 4096u);
  auto queue = disk.backend->create_queue().value();
  QueueDriver driver(*queue);
  std::vector<std::byte> memory(4097);
  EXPECT_EQ(EINVAL, driver.read(512, {memory.data(), 512}));
  EXPECT_EQ(0, driver.read(4096, {memory.data() + 1, 4096})) << "unaligned memory";
}

}  // namespace
}  // namespace godwit::devices
