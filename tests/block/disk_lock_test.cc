#include "devices/block/disk_lock.h"

#include <sys/wait.h>

#include "tests/block/block_fixture.h"

namespace godwit::devices {
namespace {

constexpr uint64_t kGuest = 0x1234;
constexpr uint64_t kOther = 0x9999;

class DiskLockTest : public ::testing::Test {
 protected:
  void SetUp() override { make_file(path_, 4096); }
  UniqueFd open(int flags = O_RDWR) const {
    return UniqueFd(::open(path_.c_str(), flags | O_CLOEXEC));
  }
  Result<DiskLock> own(uint64_t guest = kGuest, LockMode mode = LockMode::kExclusive) const {
    return DiskLock::own(open(), mode, guest, "disk0 (x)");
  }
  Result<DiskLock> claim(uint64_t guest = kGuest, LockMode mode = LockMode::kExclusive) const {
    return DiskLock::claim(open(), mode, guest, "disk0 (x)");
  }
  Result<DiskLock> read(uint64_t guest) const {
    return DiskLock::own(open(O_RDONLY), LockMode::kReadOnly, guest, "disk0 (x)");
  }
  Result<DiskLock> share(uint64_t guest) const { return own(guest, LockMode::kShared); }
  // Nobody but the guest's own two sides gets at the disk.
  void expect_strangers_refused(std::string_view when) const {
    EXPECT_FALSE(own(kOther)) << when;
    EXPECT_FALSE(claim(kOther)) << when;
    EXPECT_FALSE(read(kOther)) << when;
    EXPECT_FALSE(share(kOther)) << when;
    EXPECT_FALSE(own(kGuest)) << when << ": a restore of the same guest";
  }
  void expect_free() const { EXPECT_TRUE(own(kOther)); }

  TempFolder folder_;
  std::string path_ = folder_.file("disk");
};

TEST_F(DiskLockTest, OneOwnerOnly) {
  {
    const auto owner = own();
    ASSERT_TRUE(owner) << owner.error().message;
    EXPECT_TRUE(owner->owned());
    EXPECT_FALSE(own(kOther));
    EXPECT_FALSE(own(kGuest));
    EXPECT_FALSE(claim(kOther));
    EXPECT_FALSE(read(kOther));
    EXPECT_FALSE(share(kOther));
  }
  expect_free();
}

TEST_F(DiskLockTest, RefusalNamesTheHolder) {
  const auto owner = own();
  const auto refused = own(kOther);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kPrecondition);
  EXPECT_NE(refused.error().message.find("disk0 (x) is in use by another VMM"), std::string::npos);
  EXPECT_NE(refused.error().message.find(fmt::format("process {} (", ::getpid())),
            std::string::npos)
      << refused.error().message;
}

TEST_F(DiskLockTest, MoveNeverLeavesTheDiskFree) {
  auto source = own().value();
  expect_strangers_refused("before");
  auto target = claim().value();
  EXPECT_FALSE(target.owned());
  expect_strangers_refused("while pages move");
  EXPECT_FALSE(claim()) << "a second target";
  const auto early = target.take_over();
  ASSERT_FALSE(early) << "before the source let go";
  EXPECT_EQ(early.error().code, Errc::kPrecondition);
  EXPECT_FALSE(target.owned());
  ASSERT_TRUE(source.release());
  EXPECT_FALSE(source.owned());
  expect_strangers_refused("between");
  EXPECT_FALSE(claim()) << "a second target, late";
  ASSERT_TRUE(target.take_over());
  EXPECT_TRUE(target.owned());
  expect_strangers_refused("after");
  EXPECT_FALSE(source.retake()) << "the target has it";
  EXPECT_FALSE(source.owned());
}

TEST_F(DiskLockTest, MovesOnAndBackOnceTheOldSourceIsGone) {
  auto first = own().value();
  for (int hop = 0; hop < 4; ++hop) {
    auto next = claim();
    ASSERT_TRUE(next) << hop << ": " << next.error().message;
    ASSERT_TRUE(first.release());
    ASSERT_TRUE(next->take_over());
    first = std::move(*next);  // the old source ends
    expect_strangers_refused("moved");
  }
}

TEST_F(DiskLockTest, OldSourceThatNeverLearntTheEndBlocksTheNextMove) {
  auto source = own().value();
  auto target = claim().value();
  ASSERT_TRUE(source.release());
  ASSERT_TRUE(target.take_over());
  EXPECT_FALSE(claim()) << "its retake() could win in the next handover";
  EXPECT_FALSE(target.release()) << "nor may this end it";
  EXPECT_TRUE(target.owned());
  { const DiskLock ended = std::move(source); }
  EXPECT_TRUE(claim());
}

TEST_F(DiskLockTest, FailedMoveGivesTheDiskBackToTheSource) {
  auto source = own().value();
  {
    auto target = claim().value();
    ASSERT_TRUE(source.release());
    EXPECT_FALSE(source.take_over()) << "only a claim takes over";
    ASSERT_TRUE(source.retake()) << "even beside a target that is still there";
    EXPECT_TRUE(source.owned());
    EXPECT_FALSE(target.take_over());
  }
  expect_strangers_refused("back");
  EXPECT_TRUE(claim()) << "and may try again";
}

TEST_F(DiskLockTest, TargetThatTookOverAndFailedGivesItBack) {
  auto source = own().value();
  {
    auto target = claim().value();
    ASSERT_TRUE(source.release());
    ASSERT_TRUE(target.take_over());
    EXPECT_FALSE(source.retake());
  }
  expect_strangers_refused("the target is gone");
  EXPECT_TRUE(source.retake());
}

TEST_F(DiskLockTest, CrashOfEitherSideLeavesTheOtherInPossession) {
  {
    auto source = own().value();
    auto target = claim().value();
    { const DiskLock crashed = std::move(source); }
    expect_strangers_refused("the source died before the handover");
    EXPECT_TRUE(target.take_over()) << "nobody is left who could have it";
  }
  {
    auto source = own().value();
    auto target = claim().value();
    ASSERT_TRUE(source.release());
    { const DiskLock crashed = std::move(target); }
    expect_strangers_refused("the target died in the handover");
    EXPECT_TRUE(source.retake());
  }
  {
    auto source = own().value();
    auto target = claim().value();
    ASSERT_TRUE(source.release());
    { const DiskLock crashed = std::move(source); }
    expect_strangers_refused("the source died in the handover");
    EXPECT_TRUE(target.take_over());
  }
  expect_free();
}

TEST_F(DiskLockTest, KernelDropsTheLocksOfAProcessThatDies) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(0, ::pipe2(pipe.data(), O_CLOEXEC));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto held = own();
    const char told = held ? 'y' : 'n';
    (void)!::write(pipe[1], &told, 1);
    for (;;) ::pause();
  }
  char told = 0;
  ASSERT_EQ(1, ::read(pipe[0], &told, 1));
  EXPECT_EQ(told, 'y');
  const auto refused = own(kOther);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(fmt::format("process {} (", child)), std::string::npos)
      << refused.error().message;
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  expect_free();
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(DiskLockTest, StepsOutOfOrderChangeNothing) {
  auto source = own().value();
  EXPECT_FALSE(source.retake());
  EXPECT_FALSE(source.take_over());
  EXPECT_TRUE(source.owned());
  auto target = claim().value();
  EXPECT_FALSE(target.release());
  EXPECT_FALSE(target.retake());
  EXPECT_FALSE(target.owned());
  expect_strangers_refused("all the same");
}

TEST_F(DiskLockTest, ClaimNeedsAnOwnerSoAnotherFileIsNotTakenForTheSources) {
  const auto target = claim();
  ASSERT_FALSE(target);
  EXPECT_NE(target.error().message.find("another file than the source's"), std::string::npos);
  const auto reader = read(1);
  EXPECT_FALSE(claim());
}

// A stranger that looked just before the handover and took its byte just after.
TEST_F(DiskLockTest, MomentaryLockInTheHandoverCostsNobodyTheDisk) {
  auto source = own().value();
  auto target = claim().value();
  ASSERT_TRUE(source.release());
  const UniqueFd stranger = open();
  struct flock byte {};
  byte.l_type = F_WRLCK;
  byte.l_whence = SEEK_SET;
  byte.l_start = (1ll << 62) + 100;
  byte.l_len = 1;
  ASSERT_EQ(0, ::fcntl(stranger.get(), F_OFD_SETLK, &byte));
  std::jthread gives_back([&] {
    std::this_thread::sleep_for(kDiskLockPatience / 10);
    byte.l_type = F_UNLCK;
    EXPECT_EQ(0, ::fcntl(stranger.get(), F_OFD_SETLK, &byte));
  });
  const auto taken = target.take_over();
  EXPECT_TRUE(taken) << taken.error().message;
}

TEST_F(DiskLockTest, ReadersShareAndKeepWritersOut) {
  auto one = read(1);
  auto two = read(2);
  ASSERT_TRUE(one);
  ASSERT_TRUE(two);
  EXPECT_FALSE(own());
  EXPECT_FALSE(claim());
  EXPECT_FALSE(share(3)) << "a sharer may write";
  EXPECT_TRUE(one->release());
  EXPECT_TRUE(one->retake());
  EXPECT_TRUE(one->owned());
  one = read(3);
  two = read(4);
  EXPECT_FALSE(own());
}

TEST_F(DiskLockTest, SharersShareAmongThemselvesOnly) {
  auto one = share(1);
  auto two = share(2);
  ASSERT_TRUE(one);
  ASSERT_TRUE(two);
  EXPECT_TRUE(claim(1, LockMode::kShared)) << "a sharer's move";
  EXPECT_FALSE(own());
  const auto reader = read(3);
  ASSERT_FALSE(reader);
  EXPECT_NE(reader.error().message.find("share=on"), std::string::npos);
}

TEST_F(DiskLockTest, AnyPairOfGuestsExcludesEachOther) {
  for (uint64_t guest = 0; guest < 40; ++guest) {
    const auto owner = own(guest);
    ASSERT_TRUE(owner) << owner.error().message;
    EXPECT_FALSE(own(guest + 1));
    EXPECT_FALSE(claim(guest + 1));
    EXPECT_TRUE(claim(guest));
  }
}

}  // namespace
}  // namespace godwit::devices
