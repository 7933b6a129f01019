#include "devices/console/unix_endpoint.h"

#include <sys/socket.h>

#include <cerrno>

namespace godwit::devices {
namespace {

constexpr int kBacklog = 4;

}  // namespace

Result<std::unique_ptr<ConsoleEndpoint>> UnixEndpoint::open(const std::string& path) {
  GODWIT_ASSIGN(UnixListener listener, UnixListener::open("serial console", path, kBacklog));
  return std::make_unique<UnixEndpoint>(std::move(listener));
}

ConsoleEndpoint::Ready UnixEndpoint::prepare(bool want_input, bool want_output, PollSet set) {
  if (!client_) {
    set[0] = {listener_.fd(), POLLIN, 0};
    return {.input = false, .output = want_output};
  }
  const bool output = want_output && !output_ended_;
  const int events = (want_input && !input_ended_ ? POLLIN : 0) | (output ? POLLOUT : 0);
  // With no events asked for, poll() still reports a hang-up. That is wanted once the input has
  // ended; before, unread input may be left, and the report would come for ever.
  if (events != 0 || input_ended_) set[1] = {client_.get(), static_cast<short>(events), 0};
  return {.input = false, .output = want_output && output_ended_};
}

ConsoleEndpoint::Ready UnixEndpoint::after_poll(PollSet set) {
  if (set[0].revents != 0 && !client_) {
    client_ = UniqueFd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    input_ended_ = output_ended_ = false;
    return {};
  }
  const short found = set[1].revents;
  if ((found & (POLLHUP | POLLERR)) != 0 && input_ended_) {
    drop_client();
    return {};
  }
  return {.input = (found & (POLLIN | POLLHUP)) != 0 && (set[1].events & POLLIN) != 0,
          .output = (found & (POLLOUT | POLLHUP | POLLERR)) != 0 && (set[1].events & POLLOUT) != 0};
}

size_t UnixEndpoint::read(std::span<std::byte> to) {
  const ssize_t n = ::recv(client_.get(), to.data(), to.size(), 0);
  if (n > 0) return static_cast<size_t>(n);
  if (n == 0) input_ended_ = true;
  if (n < 0 && errno != EAGAIN && errno != EINTR) drop_client();
  return 0;
}

ConsoleEndpoint::Written UnixEndpoint::write(std::span<const std::byte> bytes) {
  if (!client_ || output_ended_) return {.sent = 0, .dropped = bytes.size()};
  const ssize_t n = ::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n > 0) return {.sent = static_cast<size_t>(n)};
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  output_ended_ = true;  // what it sent before it left may still be read
  return {.sent = 0, .dropped = bytes.size()};
}

}  // namespace godwit::devices
