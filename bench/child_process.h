// A program that a benchmark or test runs: it dies with its starter, and nothing else is ever
// killed.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::bench {

struct ChildOptions {
  std::vector<std::string> command;  // the program (looked for in PATH) and its arguments
  std::vector<std::pair<std::string, std::string>> environment;  // on top of our own
  std::filesystem::path stdout_path;                             // truncated; empty: /dev/null
  std::filesystem::path stderr_path;
};

// Not thread-safe. The process is killed with this object, and by the kernel when the thread that
// started it ends.
class ChildProcess {
 public:
  // kNotFound if there is no such program. std::system_error if the host has no process left.
  static Result<ChildProcess> start(const ChildOptions& options);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  [[nodiscard]] pid_t pid() const { return pid_; }
  // True until wait_exit() has seen the end.
  [[nodiscard]] bool unreaped() const { return pid_fd_.valid(); }
  // By pidfd: a recycled pid is never hit. Nothing happens after the end.
  void signal(int number) const;

  // CPU time of all its threads so far, and after the end (once wait_exit() has seen it) in all.
  [[nodiscard]] Nanoseconds cpu_time() const;
  // Waits for the end: the exit status, or 128 + the signal's number. kTimeout. May be repeated.
  Result<int> wait_exit(Nanoseconds timeout);
  // Kills it if it runs; it is gone afterwards.
  void kill();

 private:
  ChildProcess(pid_t pid, UniqueFd pid_fd) : pid_(pid), pid_fd_(std::move(pid_fd)) {}
  void reap();

  pid_t pid_;
  UniqueFd pid_fd_;  // invalid once reaped
  int exit_status_ = 0;
  Nanoseconds final_cpu_time_{};
};

// True if `program` is in PATH (or is a path that can be run).
bool have_program(const std::string& program);

// All of a text file; "" if it can't be read.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace godwit::bench
