#include "bench/child_process.h"

#include <signal.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/workload/temp_dir.h"

namespace godwit::bench {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

ChildProcess shell(const std::string& script, const ChildOptions& rest = {}) {
  ChildOptions options = rest;
  options.command = {"sh", "-c", script};
  return ChildProcess::start(options).value();
}

TEST(ChildProcess, ExitStatusIsThatOfTheProgram) {
  EXPECT_EQ(shell("exit 7").wait_exit(kPatience).value(), 7);
}

TEST(ChildProcess, ExitStatusMayBeAskedAgain) {
  ChildProcess child = shell("exit 3");
  EXPECT_EQ(child.wait_exit(kPatience).value(), 3);
  EXPECT_EQ(child.wait_exit(kPatience).value(), 3);
}

TEST(ChildProcess, ASignalIsTold) {
  ChildProcess child = shell("exec sleep 60");
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait_exit(kPatience).value(), 128 + SIGTERM);
}

TEST(ChildProcess, WaitingEndsWithATimeoutWhileItRuns) {
  ChildProcess child = shell("exec sleep 60");
  const auto status = child.wait_exit(std::chrono::milliseconds(1));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::kTimeout);
  EXPECT_TRUE(child.unreaped());
}

TEST(ChildProcess, DiesWithItsObject) {
  pid_t pid = 0;
  {
    const ChildProcess child = shell("exec sleep 60");
    pid = child.pid();
  }
  EXPECT_EQ(::kill(pid, 0), -1);  // reaped: no such process
}

TEST(ChildProcess, OutputAndEnvironmentAreItsOwn) {
  const TempDir dir;
  ChildProcess child = shell("echo out $WORD; echo err >&2", {.environment = {{"WORD", "first"}},
                                                              .stdout_path = dir.path() / "out",
                                                              .stderr_path = dir.path() / "err"});
  EXPECT_EQ(child.wait_exit(kPatience).value(), 0);
  EXPECT_EQ(read_text_file(dir.path() / "out"), "out first\n");
  EXPECT_EQ(read_text_file(dir.path() / "err"), "err\n");
}

TEST(ChildProcess, CpuTimeIsKeptAfterTheEnd) {
  ChildProcess child = shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
  ASSERT_EQ(child.wait_exit(kPatience).value(), 0);
  EXPECT_GT(child.cpu_time(), Nanoseconds(0));
}

TEST(ChildProcess, AProgramThatIsMissingIsNamed) {
  const auto child = ChildProcess::start({.command = {"/nowhere/program"}});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, Errc::kNotFound);
  EXPECT_THAT(child.error().message, testing::HasSubstr("/nowhere/program"));
}

}  // namespace
}  // namespace godwit::bench
