// What tests of disks share: files, a driver of a queue with bounded waits, an NBD server.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "devices/block/block.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

inline constexpr std::chrono::seconds kPatience{60};

// A folder that is gone at the end. In the working directory's file system, since /tmp may be one
// without O_DIRECT.
class TempFolder {
 public:
  explicit TempFolder(std::string_view where = ".") {
    std::string name = std::string(where) + "/godwit-block-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    path_ = std::filesystem::absolute(name);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] std::string file(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline void make_file(const std::string& path, uint64_t size) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd) << path;
  ASSERT_EQ(0, ::ftruncate(fd.get(), static_cast<off_t>(size)));
}
inline uint64_t file_size(const std::string& path) {
  return std::filesystem::file_size(path);
}

// Submits, polls event_fd() and reaps as a device's thread does.
class QueueDriver {
 public:
  explicit QueueDriver(BlockQueue& queue) : queue_(queue) {}

  // Waits for at least one completion; false: none came in time.
  bool wait_some() {
    const TimePoint deadline = now() + kPatience;
    while (now() < deadline) {
      if (reap_now() > 0) return true;
      pollfd poll{queue_.event_fd(), POLLIN, 0};
      (void)::poll(&poll, 1, 1000);
    }
    return false;
  }
  size_t reap_now() {
    std::array<BlockCompletion, 7> done;  // odd and small, so that rounds are split
    const size_t n = queue_.reap(done);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_EQ(errors_.count(done[i].tag), 0u) << "completed twice: " << done[i].tag;
      errors_[done[i].tag] = done[i].error;
    }
    return n;
  }
  bool wait_all() {
    while (queue_.in_flight() > 0) {
      if (!wait_some()) return false;
    }
    return true;
  }
  // The errno of a request, which is waited for; refusals too.
  int run(BlockRequest request) {
    request.tag = next_tag_++;
    const int refused = queue_.submit(request);
    if (refused != 0) return refused;
    queue_.kick();
    while (errors_.count(request.tag) == 0) {
      if (!wait_some()) return ETIME;
    }
    return take_error(request.tag);
  }
  int read(uint64_t offset, std::span<std::byte> to) {
    const iovec part{to.data(), to.size()};
    return run({BlockOp::kRead, false, offset, to.size(), {&part, 1}});
  }
  int write(uint64_t offset, std::span<const std::byte> from) {
    const iovec part{const_cast<std::byte*>(from.data()), from.size()};
    return run({BlockOp::kWrite, false, offset, from.size(), {&part, 1}});
  }
  int flush() { return run({BlockOp::kFlush}); }
  int discard(uint64_t offset, uint64_t length) {
    return run({BlockOp::kDiscard, false, offset, length});
  }
  int write_zeroes(uint64_t offset, uint64_t length, bool unmap) {
    return run({BlockOp::kWriteZeroes, unmap, offset, length});
  }
  [[nodiscard]] bool completed(uint64_t tag) const { return errors_.count(tag) != 0; }
  int take_error(uint64_t tag) {
    const int error = errors_.at(tag);
    errors_.erase(tag);
    return error;
  }
  uint64_t new_tag() { return next_tag_++; }

 private:
  BlockQueue& queue_;
  uint64_t next_tag_ = 1;
  std::map<uint64_t, int> errors_;
};

inline std::vector<std::byte> pattern(size_t size, uint64_t seed) {
  std::vector<std::byte> bytes(size);
  uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;
  for (auto& byte : bytes) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    byte = static_cast<std::byte>(x);
  }
  return bytes;
}
inline bool all_zero(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    if (byte != std::byte{0}) return false;
  }
  return true;
}

// Its exit status. Tests run one at a time in their process.
inline int run_shell(const std::string& command) {
  return ::system(command.c_str());  // NOLINT(concurrency-mt-unsafe)
}

// nbdkit on a Unix socket; ends with this process.
class NbdServer {
 public:
  static bool available() { return run_shell("command -v nbdkit >/dev/null 2>&1") == 0; }

  // `arguments`: plugin, filters and their parameters.
  NbdServer(std::string socket, std::vector<std::string> arguments)
      : socket_(std::move(socket)), arguments_(std::move(arguments)) {
    start();
  }
  ~NbdServer() { stop(); }
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;

  void start() {
    std::vector<std::string> words{"nbdkit", "-f", "--exit-with-parent", "-U",
                                   socket_,  "-P", socket_ + ".pid"};
    words.insert(words.end(), arguments_.begin(), arguments_.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::unlink((socket_ + ".pid").c_str());
    ASSERT_EQ(0, ::posix_spawnp(&pid_, "nbdkit", nullptr, nullptr, argv.data(), environ));
    const TimePoint deadline = now() + kPatience;
    // It writes its pid when it listens.
    while (::access((socket_ + ".pid").c_str(), F_OK) != 0) {
      ASSERT_EQ(0, ::waitpid(pid_, nullptr, WNOHANG)) << "nbdkit ended early";
      ASSERT_LT(now(), deadline) << "nbdkit does not listen";
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  // At once, as a crash.
  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    ::unlink(socket_.c_str());
  }
  void freeze() const { ::kill(pid_, SIGSTOP); }
  [[nodiscard]] std::string uri() const { return "nbd+unix:///?socket=" + socket_; }

 private:
  std::string socket_;
  std::vector<std::string> arguments_;
  pid_t pid_ = -1;
};

}  // namespace godwit::devices
