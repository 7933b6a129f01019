#include <gtest/gtest.h>
#include <sys/stat.h>

#include "devices/console/config.h"
#include "tests/devices/console_fixture.h"

namespace godwit::devices {
namespace {

class UnixConsole : public testing::Test {
 protected:
  void SetUp() override {
    console = open_console({ConsoleKind::kUnix, path}).value();
    console->attach(client);
    console->resume();
  }
  // A connection of which the console knows, shown by a byte that it delivered.
  UniqueFd attach_client() {
    UniqueFd fd = connect_unix(path);
    const size_t before = client.input().size();
    EXPECT_EQ(::write(fd.get(), "!", 1), 1);
    EXPECT_TRUE(client.wait_input(before + 1));
    return fd;
  }
  TemporaryDirectory directory;
  const std::string path = directory.file("console.sock");
  RecordingClient client;
  std::unique_ptr<ConsoleBackend> console;
};

TEST_F(UnixConsole, IsTheOwnersAloneAndGoesAwayWithTheConsole) {
  struct stat found {};
  ASSERT_EQ(::stat(path.c_str(), &found), 0);
  EXPECT_TRUE(S_ISSOCK(found.st_mode));
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  EXPECT_EQ(console->path(), path);
  console.reset();
  EXPECT_NE(::stat(path.c_str(), &found), 0);
}

TEST_F(UnixConsole, CarriesBothWaysForOneClientAfterAnother) {
  for (int i = 0; i < 3; ++i) {
    const UniqueFd fd = attach_client();
    console->write(as_bytes("hello"));
    EXPECT_EQ(read_exactly(fd.get(), 5), "hello");
  }
}

TEST_F(UnixConsole, OutputWithoutAClientIsDroppedAndCounted) {
  console->write(as_bytes("nobody"));
  console->shut_down(Unsent::kSend);
  EXPECT_EQ(console->counters().dropped_bytes, 6u);
}

TEST_F(UnixConsole, ASecondClientWaitsUntilTheFirstLeaves) {
  UniqueFd first = attach_client();
  const UniqueFd second = connect_unix(path);
  ASSERT_EQ(::write(second.get(), "second", 6), 6);
  console->write(as_bytes("for the first"));
  EXPECT_EQ(read_exactly(first.get(), 13), "for the first");
  EXPECT_EQ(client.input(), "!");
  first.reset();
  ASSERT_TRUE(client.wait_input(7));
  EXPECT_EQ(client.input(), "!second");
}

TEST_F(UnixConsole, WhatAClientSentBeforeItLeftStillArrives) {
  client.want_one_chunk();
  const std::string text(5 * kConsoleInputChunk, 't');
  UniqueFd fd = connect_unix(path);
  ASSERT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ASSERT_TRUE(client.wait_input(kConsoleInputChunk));
  fd.reset();
  console->write(as_bytes("into the void"));
  for (size_t chunk = 2; chunk <= 5; ++chunk) {
    console->set_input_wanted(true);
    ASSERT_TRUE(client.wait_input(chunk * kConsoleInputChunk)) << chunk;
  }
  EXPECT_EQ(client.input(), text);
}

TEST_F(UnixConsole, AClientThatOnlyClosedItsSendingSideStillGetsOutput) {
  const UniqueFd fd = attach_client();
  ASSERT_EQ(::shutdown(fd.get(), SHUT_WR), 0);
  console->write(as_bytes("answer"));
  EXPECT_EQ(read_exactly(fd.get(), 6), "answer");
}

TEST_F(UnixConsole, ALiveSocketIsRefused) {
  const auto again = open_console({ConsoleKind::kUnix, path});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::kAlreadyExists);
  EXPECT_NE(again.error().message.find(path), std::string::npos);
  const UniqueFd fd = attach_client();  // and the first one works on
}

TEST_F(UnixConsole, ASocketOfADeadProcessIsReplaced) {
  const std::string stale = directory.file("stale.sock");
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, stale.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(stale));
  auto fresh = open_console({ConsoleKind::kUnix, stale});
  ASSERT_TRUE(fresh) << fresh.error().message;
  (void)connect_unix(stale);
}

TEST_F(UnixConsole, ADestructorLeavesAnothersSocketAlone) {
  std::filesystem::remove(path);
  auto other = open_console({ConsoleKind::kUnix, path}).value();
  console.reset();
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(UnixConsole, PathsThatCannotBeAreErrors) {
  const std::string plain = directory.file("plain");
  const UniqueFd file(::open(plain.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_EQ(open_console({ConsoleKind::kUnix, plain}).error().code, Errc::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(plain));
  const auto longer = open_console({ConsoleKind::kUnix, "/tmp/" + std::string(200, 'x')});
  EXPECT_EQ(longer.error().code, Errc::kInvalidArgument);
  EXPECT_EQ(open_console({ConsoleKind::kUnix, "/nonexistent/s"}).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace godwit::devices
