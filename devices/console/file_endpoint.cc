#include "devices/console/file_endpoint.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace godwit::devices {

Result<std::unique_ptr<ConsoleEndpoint>> FileEndpoint::open(const std::string& path) {
  // O_NONBLOCK matters for what is not a plain file, such as a terminal or a named pipe.
  constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  UniqueFd fd(::open(path.c_str(), kFlags, 0600));
  if (!fd) {
    return error_from_errno(errno, fmt::format("serial console: cannot open '{}' for writing; name "
                                               "a file in a directory that this user may write to",
                                               path));
  }
  return std::make_unique<FileEndpoint>(std::move(fd), path);
}

ConsoleEndpoint::Ready FileEndpoint::prepare(bool, bool want_output, PollSet set) {
  if (want_output) set[0] = {fd_.get(), POLLOUT, 0};
  return {};
}

ConsoleEndpoint::Ready FileEndpoint::after_poll(PollSet set) {
  return {.input = false, .output = set[0].revents != 0};
}

ConsoleEndpoint::Written FileEndpoint::write(std::span<const std::byte> bytes) {
  const ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
  if (n > 0) {
    failing_ = false;
    return {.sent = static_cast<size_t>(n)};
  }
  if (errno == EAGAIN || errno == EINTR) return {};
  if (!failing_) {
    spdlog::warn("serial console: cannot write to '{}' ({}); output is lost until it works again",
                 path_, std::generic_category().message(errno));
    failing_ = true;
  }
  return {.sent = 0, .dropped = bytes.size()};
}

}  // namespace godwit::devices
