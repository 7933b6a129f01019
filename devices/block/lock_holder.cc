#include "devices/block/lock_holder.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

namespace godwit::devices {
namespace {

namespace fs = std::filesystem;

// A host may run anything; an error text is not worth more than this.
constexpr size_t kMaxDescriptors = 200'000;

struct Wanted {
  dev_t device;
  ino_t inode;
  uint64_t first;
  uint64_t last;
};

// "lock:	1: OFDLCK  ADVISORY  WRITE -1 fd:00:1234 4611686018427387904 EOF",
// proc_pid_fdinfo(5).
bool line_matches(const std::string& line, const Wanted& wanted) {
  unsigned dev_major = 0;
  unsigned dev_minor = 0;
  uint64_t inode = 0;
  uint64_t first = 0;
  char last_text[24] = {};
  if (std::sscanf(line.c_str(), "lock: %*u: OFDLCK %*s %*s %*d %x:%x:%" SCNu64 " %" SCNu64 " %23s",
                  &dev_major, &dev_minor, &inode, &first, last_text) != 5) {
    return false;
  }
  uint64_t last = UINT64_MAX;
  if (std::string_view(last_text) != "EOF") {
    std::from_chars(last_text, last_text + sizeof last_text, last);
  }
  return inode == wanted.inode && makedev(dev_major, dev_minor) == wanted.device &&
         first <= wanted.last && last >= wanted.first;
}

bool holds(const fs::path& fdinfo, const Wanted& wanted) {
  std::ifstream file(fdinfo);
  std::string line;
  while (std::getline(file, line)) {
    if (line_matches(line, wanted)) return true;
  }
  return false;
}

std::optional<long> as_pid(const std::string& name) {
  long pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return pid;
}

std::string command_of(const fs::path& process) {
  std::ifstream file(process / "comm");
  std::string name;
  std::getline(file, name);
  return name;
}

}  // namespace

std::string describe_lock_holder(int fd, uint64_t first, uint64_t last) {
  struct stat status {};
  std::string holders;
  std::error_code failed;
  size_t left = kMaxDescriptors;
  if (::fstat(fd, &status) != 0) failed = std::make_error_code(std::errc::bad_file_descriptor);
  const Wanted wanted{status.st_dev, status.st_ino, first, last};
  const auto processes =
      failed ? fs::directory_iterator() : fs::directory_iterator("/proc", failed);
  for (auto it = processes; it != fs::directory_iterator() && left > 0; it.increment(failed)) {
    const auto pid = as_pid(it->path().filename());
    if (!pid) continue;
    auto files = fs::directory_iterator(it->path() / "fdinfo", failed);
    bool found = false;
    for (; !failed && !found && left > 0 && files != fs::directory_iterator();
         files.increment(failed), --left) {
      const bool own = *pid == ::getpid() && as_pid(files->path().filename()) == fd;
      found = !own && holds(files->path(), wanted);
    }
    failed.clear();
    if (found) {
      holders += fmt::format("{}process {} ({})", holders.empty() ? "held by " : ", ", *pid,
                             command_of(it->path()));
    }
  }
  return holders.empty() ? "held by no process found here: on another host, or another user's"
                         : holders;
}

}  // namespace godwit::devices
