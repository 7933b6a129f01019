#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>

#include "devices/console/buffered_console.h"
#include "devices/console/stdio_endpoint.h"
#include "tests/devices/console_fixture.h"

namespace godwit::devices {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    check_syscall(::pipe2(fds, O_CLOEXEC), "pipe2");
    read_end = UniqueFd(fds[0]);
    write_end = UniqueFd(fds[1]);
  }
  UniqueFd read_end;
  UniqueFd write_end;
};

TEST(StdioConsole, CarriesBothWaysOverPipesAndEndOfInputIsNoError) {
  Pipe input, output;
  RecordingClient client;
  BufferedConsole console(
      std::make_unique<StdioEndpoint>(input.read_end.get(), output.write_end.get()));
  console.attach(client);
  console.resume();
  ASSERT_EQ(::write(input.write_end.get(), "\x01x typed", 8), 8);
  ASSERT_TRUE(client.wait_input(8)) << "no keys are ours on a pipe";
  input.write_end.reset();
  console.write(as_bytes("printed"));
  EXPECT_EQ(read_exactly(output.read_end.get(), 7), "printed");
  EXPECT_EQ(::fcntl(output.write_end.get(), F_GETFL) & O_NONBLOCK, 0) << "others may share it";
}

TEST(StdioConsole, AClosedReaderLosesOutputNotTheProcess) {
  Pipe input, output;
  RecordingClient client;
  BufferedConsole console(
      std::make_unique<StdioEndpoint>(input.read_end.get(), output.write_end.get()));
  console.attach(client);
  console.resume();
  output.read_end.reset();
  console.write(as_bytes("nobody reads this"));
  console.shut_down(Unsent::kSend);
  EXPECT_EQ(console.counters().dropped_bytes, 17u);
}

TEST(StdioConsole, ClosedDescriptorsAreAnEmptyInputAndNoOutput) {
  int closed_input, closed_output;
  {
    Pipe gone;
    closed_input = gone.read_end.get();
    closed_output = gone.write_end.get();
  }
  // Not through BufferedConsole, whose own descriptors would take these numbers.
  StdioEndpoint endpoint(closed_input, closed_output);
  std::array<pollfd, ConsoleEndpoint::kMaxFds> set;
  set.fill({-1, 0, 0});
  EXPECT_TRUE(endpoint.prepare(true, true, set).output);
  EXPECT_EQ(set[0].fd, -1);
  EXPECT_EQ(endpoint.write(as_bytes("x")).dropped, 1u);
}

TEST(StdioConsole, WritesToASocketAndAFile) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  const UniqueFd here(fds[0]), there(fds[1]);
  StdioEndpoint socket(here.get(), here.get());
  EXPECT_EQ(socket.write(as_bytes("socket")).sent, 6u);
  EXPECT_EQ(read_exactly(there.get(), 6), "socket");

  const TemporaryDirectory directory;
  const std::string path = directory.file("out");
  const UniqueFd file(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), "before ", 7), 7);
  StdioEndpoint plain(here.get(), file.get());
  EXPECT_EQ(plain.write(as_bytes("after")).sent, 5u);
  EXPECT_EQ(std::filesystem::file_size(path), 12u) << "goes on where the shell was";
}

// Runs `body` in a child whose controlling terminal is a new pty, in the foreground; `body` gets
// the terminal, `host` the other end. Returns the child's exit status, or -1 when it cannot be done
// here.
template <class Body, class Host>
int on_a_terminal(Body&& body, Host&& host) {
  const UniqueFd controller(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!controller || ::grantpt(controller.get()) != 0 || ::unlockpt(controller.get()) != 0) {
    return -1;
  }
  char name[128];
  if (::ptsname_r(controller.get(), name, sizeof name) != 0) return -1;
  // Held open, so that what the child wrote can be read after its end.
  const UniqueFd terminal_here(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(std::chrono::seconds(kTestLimit).count());
    ::setsid();
    const int terminal = ::open(name, O_RDWR);  // becomes the controlling terminal
    ::_exit(terminal < 0 ? 99 : body(terminal));
  }
  host(controller.get());
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

tcflag_t local_flags(int fd) {
  termios mode{};
  ::tcgetattr(fd, &mode);
  return mode.c_lflag;
}

TEST(StdioConsole, ATerminalIsRawWhileTheConsoleLivesAndAsBeforeAfterwards) {
  const int status = on_a_terminal(
      [](int terminal) {
        const tcflag_t before = local_flags(terminal);
        if ((before & ICANON) == 0) return 10;
        {
          const StdioEndpoint endpoint(terminal, terminal);
          if ((local_flags(terminal) & (ICANON | ECHO | ISIG)) != 0) return 11;
        }
        return local_flags(terminal) == before ? 0 : 12;
      },
      [](int) {});
  if (status < 0) GTEST_SKIP() << "no pty to be had here";
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(StdioConsole, ATerminalIsPutBackAtExitToo) {
  tcflag_t after = 0;
  const int status = on_a_terminal(
      [](int terminal) {
        static StdioEndpoint* never_destroyed = new StdioEndpoint(terminal, terminal);
        (void)never_destroyed;
        if (::write(terminal, "r", 1) != 1) return 10;
        ::exit(0);  // NOLINT(concurrency-mt-unsafe): one thread
        return 0;
      },
      [&](int controller) {
        EXPECT_EQ(read_exactly(controller, 1), "r");
        // The child exits after its "r"; its terminal's modes are seen from this side as well.
        for (int i = 0; i < 3000 && (local_flags(controller) & ICANON) == 0; ++i) ::usleep(10'000);
        after = local_flags(controller);
      });
  if (status < 0) GTEST_SKIP() << "no pty to be had here";
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_NE(after & ICANON, 0u);
}

TEST(StdioConsole, OurTwoKeysWorkOnATerminal) {
  const int status = on_a_terminal(
      [](int terminal) {
        StdioEndpoint endpoint(terminal, terminal);
        if (::write(terminal, "r", 1) != 1) return 10;
        std::string typed;
        while (typed.size() < 5) {
          std::byte chunk[64];
          const size_t n = endpoint.read(chunk);
          typed.append(reinterpret_cast<char*>(chunk), n);
        }
        if (typed !=
            "a\x01"
            "b\x03z")
          return 11;
        std::byte chunk[64];
        for (int i = 0; i < 5; ++i) (void)endpoint.read(chunk);
        return 12;  // SIGTERM should have come
      },
      [](int controller) {
        EXPECT_EQ(read_exactly(controller, 1), "r");
        EXPECT_EQ(::write(controller,
                          "a\x01\x01"
                          "b\x03\x01z",
                          7),
                  7);
        EXPECT_EQ(::write(controller, "\x01x", 2), 2);
      });
  if (status < 0) GTEST_SKIP() << "no pty to be had here";
  ASSERT_TRUE(WIFSIGNALED(status)) << "exit status " << WEXITSTATUS(status);
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

}  // namespace
}  // namespace godwit::devices
