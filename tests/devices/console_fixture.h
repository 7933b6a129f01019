// A console's device and its host's other end, for tests over real files, ptys and sockets.
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>

#include "devices/console/console.h"
#include "vmm/base/fd.h"
#include "vmm/base/syscall.h"

namespace godwit::devices {

inline constexpr std::chrono::seconds kTestLimit{30};

// Wants input until it is told to stop; remembers everything.
class RecordingClient final : public ConsoleClient {
 public:
  bool receive(std::span<const std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    input_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    changed_.notify_all();
    return !one_chunk_;
  }
  void output_room() override {
    const std::lock_guard lock(mutex_);
    ++rooms_;
    changed_.notify_all();
  }
  // Whether at least `n` bytes came in time.
  bool wait_input(size_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kTestLimit, [&] { return input_.size() >= n; });
  }
  bool wait_rooms(int n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kTestLimit, [&] { return rooms_ >= n; });
  }
  std::string input() {
    const std::lock_guard lock(mutex_);
    return input_;
  }
  void want_one_chunk() {
    const std::lock_guard lock(mutex_);
    one_chunk_ = true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string input_;
  int rooms_ = 0;
  bool one_chunk_ = false;
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// Reads exactly `n` bytes; fewer when the other end closes or nothing comes in time.
inline std::string read_exactly(int fd, size_t n) {
  std::string text;
  while (text.size() < n) {
    pollfd p{fd, POLLIN, 0};
    if (::poll(&p, 1, std::chrono::milliseconds(kTestLimit).count()) <= 0) break;
    char buffer[4096];
    const ssize_t got = ::read(fd, buffer, std::min(sizeof buffer, n - text.size()));
    if (got <= 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  return text;
}

// A directory that goes away with the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "godwit-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw_errno("mkdtemp");
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline UniqueFd connect_unix(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  check_syscall(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
                "connect");
  return fd;
}

}  // namespace godwit::devices
