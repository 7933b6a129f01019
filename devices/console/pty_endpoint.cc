#include "devices/console/pty_endpoint.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace godwit::devices {
namespace {

Error pty_error(const char* what) {
  return error_from_errno(errno, fmt::format("serial console: {} failed; is /dev/pts mounted and "
                                             "are there ptys left?",
                                             what));
}

}  // namespace

Result<std::unique_ptr<ConsoleEndpoint>> PtyEndpoint::open() {
  UniqueFd controller(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!controller) return pty_error("posix_openpt");
  if (::grantpt(controller.get()) != 0) return pty_error("grantpt");
  if (::unlockpt(controller.get()) != 0) return pty_error("unlockpt");
  std::array<char, 128> name;
  if (const int error = ::ptsname_r(controller.get(), name.data(), name.size()); error != 0) {
    errno = error;
    return pty_error("ptsname");
  }
  UniqueFd terminal(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal) return pty_error("opening the pty");
  if (::fchmod(terminal.get(), 0600) != 0) return pty_error("chmod of the pty");
  termios mode{};
  if (::tcgetattr(terminal.get(), &mode) != 0) return pty_error("tcgetattr");
  ::cfmakeraw(&mode);
  if (::tcsetattr(terminal.get(), TCSANOW, &mode) != 0) return pty_error("tcsetattr");
  return std::make_unique<PtyEndpoint>(std::move(controller), std::move(terminal), name.data());
}

ConsoleEndpoint::Ready PtyEndpoint::prepare(bool want_input, bool want_output, PollSet set) {
  const int events = (want_input ? POLLIN : 0) | (want_output ? POLLOUT : 0);
  if (events != 0) set[0] = {controller_.get(), static_cast<short>(events), 0};
  return {};
}

ConsoleEndpoint::Ready PtyEndpoint::after_poll(PollSet set) {
  return {.input = (set[0].revents & POLLIN) != 0, .output = (set[0].revents & POLLOUT) != 0};
}

size_t PtyEndpoint::read(std::span<std::byte> to) {
  const ssize_t n = ::read(controller_.get(), to.data(), to.size());
  return n > 0 ? static_cast<size_t>(n) : 0;
}

ConsoleEndpoint::Written PtyEndpoint::write(std::span<const std::byte> bytes) {
  const ssize_t n = ::write(controller_.get(), bytes.data(), bytes.size());
  if (n > 0) return {.sent = static_cast<size_t>(n)};
  if (n == 0 || errno == EAGAIN || errno == EINTR) return {};
  return {.sent = 0, .dropped = bytes.size()};
}

}  // namespace godwit::devices
