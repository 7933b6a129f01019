#include "tools/godwit/instance/run_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "tests/tools/temp_dir.h"
#include "tools/godwit/instance/instance_lock.h"

namespace godwit::tools {
namespace {

TEST(InstanceName, IsAFileNameThatHidesNothing) {
  for (const char* good : {"web", "a", "web-1.example_2", "0"}) EXPECT_TRUE(check_name(good));
  for (const char* bad : {"", ".", "..", ".web", "-web", "a/b", "a b", "ä", "a\n"})
    EXPECT_FALSE(check_name(bad)) << bad;
  EXPECT_TRUE(check_name(std::string(kMaxNameLength, 'a')));
  EXPECT_FALSE(check_name(std::string(kMaxNameLength + 1, 'a')));
}

TEST(RunDirectory, IsMadeForItsOwnerAlone) {
  const TempDir temp;
  const auto dir = RunDir::open(temp.path() / "new" / "run");
  ASSERT_TRUE(dir) << dir.error().message;
  struct stat info {};
  ASSERT_EQ(::stat(dir->path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
}

TEST(RunDirectory, WritableByOthersIsRefusedWithTheRemedy) {
  const TempDir temp;
  ASSERT_EQ(::chmod(temp.path().c_str(), 0777), 0);
  const auto dir = RunDir::open(temp.path());
  ASSERT_FALSE(dir);
  EXPECT_EQ(dir.error().code, Errc::kPermission);
  EXPECT_NE(dir.error().message.find("chmod 0700"), std::string::npos);
}

TEST(RunDirectory, OfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a directory away";
  const TempDir temp;
  ASSERT_EQ(::chown(temp.path().c_str(), 12345, 12345), 0);
  const auto dir = RunDir::open(temp.path());
  ASSERT_FALSE(dir);
  EXPECT_NE(dir.error().message.find("belongs to user 12345"), std::string::npos);
}

TEST(RunDirectory, ThatIsAFileIsRefused) {
  const TempDir temp;
  std::ofstream(temp / "file") << "x";
  EXPECT_FALSE(RunDir::open(temp / "file"));
}

TEST(RunDirectory, TooLongForASocketIsRefused) {
  const TempDir temp;
  const auto dir = RunDir::open(temp.path() / std::string(80, 'd'));
  ASSERT_FALSE(dir);
  EXPECT_EQ(dir.error().code, Errc::kInvalidArgument);
}

TEST(RunDirectory, ListsSocketsByNameAndNothingElse) {
  const TempDir temp;
  for (const char* name : {"b.sock", "a.sock", "a.lock", "note.txt", ".sock"})
    std::ofstream(temp / name) << "";
  EXPECT_EQ(RunDir::open(temp.path())->names(), (std::vector<std::string>{"a", "b"}));
}

TEST(InstanceLock, TakesANameOnceAndSaysWhoHasIt) {
  const TempDir temp;
  const RunDir dir = *RunDir::open(temp.path());
  {
    const auto first = InstanceLock::take(dir, "web");
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_EQ(instance_owner(dir, "web"), ::getpid());
    const auto second = InstanceLock::take(dir, "web");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::kAlreadyExists);
    EXPECT_NE(second.error().message.find(std::to_string(::getpid())), std::string::npos);
    EXPECT_TRUE(InstanceLock::take(dir, "other"));
  }
  EXPECT_EQ(instance_owner(dir, "web"), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(dir.lock_path("web")));
  EXPECT_TRUE(InstanceLock::take(dir, "web"));
}

TEST(InstanceLock, ReplacesASocketLeftByADeadProcess) {
  const TempDir temp;
  const RunDir dir = *RunDir::open(temp.path());
  const pid_t child = ::fork();
  if (child == 0) {
    auto lock = InstanceLock::take(dir, "web");
    std::ofstream(dir.socket_path("web")) << "";
    ::_exit(lock ? 0 : 1);  // without destructors, as a crash would
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(std::filesystem::exists(dir.socket_path("web")));
  EXPECT_EQ(instance_owner(dir, "web"), std::nullopt);
  const auto lock = InstanceLock::take(dir, "web");
  ASSERT_TRUE(lock) << lock.error().message;
  EXPECT_FALSE(std::filesystem::exists(dir.socket_path("web")));
}

TEST(InstanceLock, RefusesABadName) {
  const TempDir temp;
  EXPECT_EQ(InstanceLock::take(*RunDir::open(temp.path()), "../x").error().code,
            Errc::kInvalidArgument);
}

}  // namespace
}  // namespace godwit::tools
