#include "bench/serial_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <thread>

#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

constexpr size_t kMaxLine = 4096;
constexpr size_t kRecentLines = 8;
constexpr auto kConnectRetry = std::chrono::milliseconds(5);

template <class T>
Result<T> parse_value(const GuestLine& line, const std::string& key) {
  const auto found = line.values.find(key);
  if (found == line.values.end()) {
    return make_error(Errc::kCorrupt, "guest line \"{}\" has no {}=", line.text, key);
  }
  T value{};
  const char* end = found->second.data() + found->second.size();
  const auto [rest, error] = std::from_chars(found->second.data(), end, value);
  if (error != std::errc() || rest != end) {
    return make_error(Errc::kCorrupt, "{}={} in guest line \"{}\" is no number", key, found->second,
                      line.text);
  }
  return value;
}

int milliseconds_left(TimePoint deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now()).count();
  return left < 0 ? 0 : static_cast<int>(std::min<int64_t>(left, 1 << 30));
}

}  // namespace

std::string GuestLine::value(const std::string& key) const {
  const auto found = values.find(key);
  return found == values.end() ? std::string() : found->second;
}

Result<uint64_t> GuestLine::number(const std::string& key) const {
  return parse_value<uint64_t>(*this, key);
}

Result<double> GuestLine::decimal(const std::string& key) const {
  return parse_value<double>(*this, key);
}

GuestLine parse_guest_line(std::string_view text) {
  GuestLine line;
  line.text = text;
  size_t pos = 0;
  while ((pos = text.find_first_not_of(" \r", pos)) != std::string_view::npos) {
    const size_t key_end = std::min(text.find_first_of("= \r", pos), text.size());
    const std::string key(text.substr(pos, key_end - pos));
    pos = key_end;
    std::string value;
    if (pos < text.size() && text[pos] == '=') {
      ++pos;
      const bool quoted = pos < text.size() && text[pos] == '"';
      if (quoted) ++pos;
      const size_t end = std::min(text.find_first_of(quoted ? "\"" : " \r", pos), text.size());
      value = text.substr(pos, end - pos);
      pos = std::min(end + (quoted ? 1 : 0), text.size());
    }
    line.values.emplace(key, std::move(value));
  }
  return line;
}

Result<SerialClient> SerialClient::connect(const std::filesystem::path& path, Nanoseconds timeout) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = path.string();
  if (name.size() >= sizeof(address.sun_path)) {
    return make_error(Errc::kInvalidArgument, "Serial socket path {} is longer than {} bytes", name,
                      sizeof(address.sun_path) - 1);
  }
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  const TimePoint deadline = now() + timeout;
  while (true) {
    UniqueFd fd(check_syscall(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return SerialClient(std::move(fd));
    }
    if (errno != ENOENT && errno != ECONNREFUSED && errno != EINTR) {
      return error_from_errno(errno, fmt::format("Cannot connect to serial socket {}", name));
    }
    if (now() >= deadline) {
      return make_error(Errc::kTimeout, "Nobody listens on serial socket {}", name);
    }
    // Nothing tells when the other side begins to listen on a socket that it has already bound.
    std::this_thread::sleep_for(kConnectRetry);
  }
}

std::optional<std::string> SerialClient::take_line() {
  const size_t end = buffer_.find('\n');
  if (end == std::string::npos) return std::nullopt;
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  if (recent_.size() == kRecentLines) recent_.pop_front();
  recent_.push_back(line);
  return line;
}

Result<void> SerialClient::fill(TimePoint deadline) {
  pollfd poll_fd{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  const int ready = ::poll(&poll_fd, 1, milliseconds_left(deadline));
  if (ready < 0 && errno != EINTR) throw_errno("poll");
  if (ready <= 0) {
    if (now() < deadline) return {};
    return make_error(Errc::kTimeout, "The guest's serial port is silent; last lines: {}",
                      recent());
  }
  char chunk[4096];
  const ssize_t n = ::recv(fd_.get(), chunk, sizeof(chunk), MSG_DONTWAIT);
  if (n > 0) {
    buffer_.append(chunk, static_cast<size_t>(n));
    return {};
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  return make_error(Errc::kIo, "The guest's serial port was closed; last lines: {}", recent());
}

Result<GuestLine> SerialClient::read_line(Nanoseconds timeout) {
  const TimePoint deadline = now() + timeout;
  while (true) {
    if (auto line = take_line()) return parse_guest_line(*line);
    if (buffer_.size() > kMaxLine) {
      return make_error(Errc::kCorrupt, "The guest's serial port sent {} bytes without a line end",
                        buffer_.size());
    }
    GODWIT_TRY(fill(deadline));
  }
}

Result<GuestLine> SerialClient::wait_for(const std::string& key, Nanoseconds timeout) {
  const TimePoint deadline = now() + timeout;
  while (true) {
    GODWIT_ASSIGN(GuestLine line, read_line(std::max<Nanoseconds>(deadline - now(), {})));
    if (line.has("error") || line.value("check") == "FAILED") {
      return make_error(Errc::kCorrupt, "The workload guest says: {}", line.text);
    }
    if (line.has(key)) return line;
  }
}

Result<void> SerialClient::send(char command) {
  while (::send(fd_.get(), &command, 1, MSG_NOSIGNAL) != 1) {
    if (errno == EINTR) continue;
    return error_from_errno(errno, "Cannot write to the guest's serial port");
  }
  return {};
}

Result<GuestLine> SerialClient::ask(char command, const std::string& key, Nanoseconds timeout) {
  while (true) {
    pollfd poll_fd{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&poll_fd, 1, 0) <= 0) break;
    GODWIT_TRY(fill(now()));
  }
  while (auto line = take_line()) {
    const GuestLine parsed = parse_guest_line(*line);
    if (parsed.has("error") || parsed.value("check") == "FAILED") {
      return make_error(Errc::kCorrupt, "The workload guest says: {}", parsed.text);
    }
  }
  GODWIT_TRY(send(command));
  return wait_for(key, timeout);
}

std::string SerialClient::recent() const {
  std::string text;
  for (const std::string& line : recent_)
    text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", line);
  return text.empty() ? "none" : text;
}

}  // namespace godwit::bench
