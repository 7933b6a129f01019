#include "devices/console/stdio_endpoint.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <string>

namespace godwit::devices {
namespace {

constexpr std::byte kEscapeKey{0x01};  // Ctrl-A

// What exit() has to put back. Written before `armed` is set.
struct AtExit {
  std::atomic<bool> armed{false};
  int fd = -1;
  termios mode{};
};
AtExit at_exit;

bool in_foreground(int fd) {
  return ::tcgetpgrp(fd) == ::getpgrp();
}

void restore_at_exit() {
  if (at_exit.armed.exchange(false) && in_foreground(at_exit.fd)) {
    ::tcsetattr(at_exit.fd, TCSANOW, &at_exit.mode);
  }
}

}  // namespace

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  termios mode{};
  // Changing a terminal from the background would stop this process (SIGTTOU).
  if (::isatty(fd) == 0 || !in_foreground(fd) || ::tcgetattr(fd, &mode) != 0) return;
  termios raw = mode;
  ::cfmakeraw(&raw);
  raw.c_oflag |= OPOST;  // log lines on the same terminal need their carriage returns
  if (::tcsetattr(fd, TCSANOW, &raw) != 0) return;
  saved_ = mode;
  static std::once_flag once;
  std::call_once(once, [] { std::atexit(restore_at_exit); });
  at_exit.fd = fd;
  at_exit.mode = mode;
  at_exit.armed = true;
}

RawTerminal::~RawTerminal() {
  if (!saved_) return;
  at_exit.armed = false;
  if (in_foreground(fd_)) ::tcsetattr(fd_, TCSANOW, &*saved_);
}

StdioEndpoint::StdioEndpoint(int input, int output)
    : input_(input), output_(output), terminal_(input) {
  input_ended_ = ::fcntl(input_, F_GETFD) < 0;
  open_output();
}

void StdioEndpoint::open_output() {
  struct stat found {};
  if (::fstat(output_, &found) != 0) {
    output_ = -1;
  } else if (S_ISSOCK(found.st_mode)) {
    output_kind_ = OutputKind::kSocket;
  } else if (S_ISREG(found.st_mode)) {
    output_kind_ = OutputKind::kFile;
  } else {
    // Opened anew rather than switched to O_NONBLOCK, which everybody who shares it would see.
    const std::string link = "/proc/self/fd/" + std::to_string(output_);
    own_output_.reset(::open(link.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!own_output_) return;
    output_ = own_output_.get();
    output_kind_ = OutputKind::kNonBlocking;
  }
}

ConsoleEndpoint::Ready StdioEndpoint::prepare(bool want_input, bool want_output, PollSet set) {
  if (want_input && !input_ended_) set[0] = {input_, POLLIN, 0};
  if (want_output && output_ >= 0) set[1] = {output_, POLLOUT, 0};
  return {.input = false, .output = want_output && output_ < 0};
}

ConsoleEndpoint::Ready StdioEndpoint::after_poll(PollSet set) {
  if ((set[0].revents & POLLNVAL) != 0) input_ended_ = true;
  return {.input = set[0].revents != 0 && !input_ended_, .output = set[1].revents != 0};
}

size_t StdioEndpoint::read(std::span<std::byte> to) {
  const ssize_t n = ::read(input_, to.data(), to.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) {
    input_ended_ = true;
    return 0;
  }
  const auto got = to.first(static_cast<size_t>(n));
  return terminal_.active() ? filter_keys(got) : got.size();
}

size_t StdioEndpoint::filter_keys(std::span<std::byte> bytes) {
  size_t kept = 0;
  for (const std::byte key : bytes) {
    if (!after_escape_ && key == kEscapeKey) {
      after_escape_ = true;
      continue;
    }
    if (after_escape_ && key == std::byte{'x'}) ::kill(::getpid(), SIGTERM);
    // Behind Ctrl-A any other key counts for itself.
    if (!after_escape_ || key != std::byte{'x'}) bytes[kept++] = key;
    after_escape_ = false;
  }
  return kept;
}

ConsoleEndpoint::Written StdioEndpoint::write(std::span<const std::byte> bytes) {
  if (output_ < 0) return {.sent = 0, .dropped = bytes.size()};
  ssize_t n;
  if (output_kind_ == OutputKind::kSocket) {
    n = ::send(output_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  } else {
    // Ready for writing means room for one byte at least, and this one would wait for the rest.
    const size_t most = output_kind_ == OutputKind::kMayBlock ? 1 : bytes.size();
    n = ::write(output_, bytes.data(), std::min(most, bytes.size()));
  }
  if (n > 0) return {.sent = static_cast<size_t>(n)};
  if (n == 0 || errno == EAGAIN || errno == EINTR) return {};
  return {.sent = 0, .dropped = bytes.size()};
}

}  // namespace godwit::devices
