#include <gtest/gtest.h>
#include <sys/stat.h>

#include "devices/console/config.h"
#include "tests/devices/console_fixture.h"

namespace godwit::devices {
namespace {

std::string read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return read_exactly(fd.get(), 1 << 20);
}
unsigned mode_of(const std::string& path) {
  struct stat found {};
  check_syscall(::stat(path.c_str(), &found), "stat");
  return found.st_mode & 07777;
}

TEST(ParseConsole, KnowsEachForm) {
  EXPECT_EQ(parse_console("null")->kind, ConsoleKind::kNull);
  EXPECT_EQ(parse_console("stdio")->kind, ConsoleKind::kStdio);
  EXPECT_EQ(parse_console("pty")->kind, ConsoleKind::kPty);
  const auto file = parse_console("file=/tmp/a=b");
  EXPECT_EQ(file->kind, ConsoleKind::kFile);
  EXPECT_EQ(file->path, "/tmp/a=b");
  EXPECT_EQ(parse_console("unix=console.sock")->kind, ConsoleKind::kUnix);
}

TEST(ParseConsole, RefusesTheRestAndSaysWhatWouldDo) {
  for (const std::string_view text : {"", "tty", "file", "file=", "unix", "unix=", "pty=x",
                                      "stdio=", "null=1", "FILE=x", " stdio"}) {
    const auto result = parse_console(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, Errc::kInvalidArgument);
    EXPECT_NE(result.error().message.find(fmt::format("'{}'", text)), std::string::npos);
  }
  using std::string_literals::operator""s;
  EXPECT_FALSE(parse_console("file=a\0b"s));
}

TEST(FileConsole, CreatesForTheOwnerOnlyAndAppends) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("console.log");
  for (const std::string_view text : {"one\n", "two\n"}) {
    auto console = open_console({ConsoleKind::kFile, path}).value();
    RecordingClient client;
    console->attach(client);
    console->resume();
    console->write(as_bytes(text));
    EXPECT_EQ(console->path(), path);
    console->shut_down(Unsent::kSend);
    EXPECT_EQ(console->counters().output_bytes, 4u);
  }
  EXPECT_EQ(read_file(path), "one\ntwo\n");
  EXPECT_EQ(mode_of(path), 0600u);
}

TEST(FileConsole, AFullDiskLosesOutputButHoldsNobodyUp) {
  auto console = open_console({ConsoleKind::kFile, "/dev/full"}).value();
  RecordingClient client;
  console->attach(client);
  console->resume();
  const std::string text(1000, 'x');
  for (int i = 0; i < 200; ++i) console->write(as_bytes(text));
  console->shut_down(Unsent::kSend);
  EXPECT_EQ(console->counters().output_bytes, 0u);
  EXPECT_GE(console->counters().dropped_bytes, kConsoleOutputBytes);
}

TEST(FileConsole, APlaceThatCannotBeIsAnErrorThatNamesIt) {
  const auto result = open_console({ConsoleKind::kFile, "/nonexistent/console.log"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kNotFound);
  EXPECT_NE(result.error().message.find("/nonexistent/console.log"), std::string::npos);
}

class PtyConsole : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = open_console({ConsoleKind::kPty, {}});
    if (!opened) GTEST_SKIP() << opened.error().message;
    console = std::move(*opened);
    console->attach(client);
    console->resume();
  }
  UniqueFd attach_terminal() {
    return UniqueFd(::open(console->path().c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  RecordingClient client;
  std::unique_ptr<ConsoleBackend> console;
};

TEST_F(PtyConsole, IsRawAndTheOwnersAlone) {
  EXPECT_EQ(mode_of(console->path()), 0600u);
  const UniqueFd terminal = attach_terminal();
  console->write(as_bytes("a\nb"));
  EXPECT_EQ(read_exactly(terminal.get(), 3), "a\nb") << "no carriage return was added";
  ASSERT_EQ(::write(terminal.get(), "\x03\r", 2), 2);
  ASSERT_TRUE(client.wait_input(2));
  EXPECT_EQ(client.input(), "\x03\r");
}

TEST_F(PtyConsole, TerminalsComeAndGo) {
  for (int i = 0; i < 3; ++i) {
    const UniqueFd terminal = attach_terminal();
    ASSERT_EQ(::write(terminal.get(), "k", 1), 1);
    ASSERT_TRUE(client.wait_input(static_cast<size_t>(i) + 1));
    console->write(as_bytes("echo"));
    EXPECT_EQ(read_exactly(terminal.get(), 4), "echo");
  }
}

TEST_F(PtyConsole, OutputWithNobodyThereWaitsForTheFirstTerminal) {
  console->write(as_bytes("boot messages"));
  const UniqueFd terminal = attach_terminal();
  EXPECT_EQ(read_exactly(terminal.get(), 13), "boot messages");
}

}  // namespace
}  // namespace godwit::devices
