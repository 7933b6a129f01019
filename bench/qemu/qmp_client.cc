#include "bench/qemu/qmp_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

namespace json = boost::json;

constexpr size_t kMaxMessage = 8 << 20;
constexpr size_t kMaxEvents = 4096;

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) return {};
  return std::string(value->get_string());
}

Result<void> send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, "Cannot write to QEMU's QMP socket");
    text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

Result<json::object> QmpClient::read_message(TimePoint deadline) {
  while (true) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      boost::system::error_code error;
      json::value message = json::parse(std::string_view(buffer_).substr(0, end), error);
      buffer_.erase(0, end + 1);
      if (error || !message.is_object()) {
        return make_error(Errc::kCorrupt, "QEMU sent a QMP line that is no JSON object");
      }
      return std::move(message.get_object());
    }
    if (buffer_.size() > kMaxMessage) {
      return make_error(Errc::kCorrupt, "QEMU sent a QMP message beyond {} bytes", kMaxMessage);
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now()).count();
    if (left <= 0) return make_error(Errc::kTimeout, "QEMU did not answer on its QMP socket");
    pollfd poll_fd{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    if (ready < 0 && errno != EINTR) throw_errno("poll");
    if (ready <= 0) continue;
    char chunk[65536];
    const ssize_t n = ::recv(fd_.get(), chunk, sizeof(chunk), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return make_error(Errc::kIo, "QEMU closed its QMP socket");
    buffer_.append(chunk, static_cast<size_t>(n));
  }
}

Result<void> QmpClient::negotiate(Nanoseconds timeout) {
  GODWIT_ASSIGN(const json::object greeting, read_message(now() + timeout));
  if (!greeting.contains("QMP")) return make_error(Errc::kProtocol, "QEMU sent no QMP greeting");
  GODWIT_TRY(command("qmp_capabilities", {}, timeout));
  return {};
}

Result<json::value> QmpClient::command(std::string_view name, json::object arguments,
                                       Nanoseconds timeout) {
  const uint64_t id = next_id_++;
  json::object request{{"execute", name}, {"id", id}};
  if (!arguments.empty()) request["arguments"] = std::move(arguments);
  GODWIT_TRY(send_all(fd_.get(), json::serialize(request) + "\n"));
  const TimePoint deadline = now() + timeout;
  while (true) {
    auto message = read_message(deadline);
    if (!message) return message.error().with_context(fmt::format("QMP command {}", name));
    if (message->contains("event")) {
      if (events_.size() == kMaxEvents) events_.pop_front();
      events_.push_back(std::move(*message));
      continue;
    }
    const json::value* answered = message->if_contains("id");
    if (answered == nullptr || *answered != json::value(id)) continue;
    if (json::value* result = message->if_contains("return")) return std::move(*result);
    const json::value* error = message->if_contains("error");
    const bool described = error != nullptr && error->is_object();
    return make_error(Errc::kIo, "QEMU refused {}: {}", name,
                      described ? text_of(error->get_object(), "desc") : std::string("no reason"));
  }
}

Result<json::object> QmpClient::next_event(Nanoseconds timeout) {
  if (!events_.empty()) {
    json::object event = std::move(events_.front());
    events_.pop_front();
    return event;
  }
  const TimePoint deadline = now() + timeout;
  while (true) {
    auto message = read_message(deadline);
    if (!message) return message.error().with_context("Waiting for a QMP event");
    if (message->contains("event")) return message;
  }
}

}  // namespace godwit::bench
