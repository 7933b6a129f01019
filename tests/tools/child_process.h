// A process that a test starts, waits for, and ends if it is still there.
#pragma once
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "vmm/base/syscall.h"

namespace godwit::tools {

class ChildProcess {
 public:
  // stdout and stderr go to `output`.out and `output`.err; `environment` is NAME=VALUE.
  ChildProcess(std::vector<std::string> words, const std::filesystem::path& output,
               const std::string& environment) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    const std::string out = output.string() + ".out", err = output.string() + ".err";
    constexpr int kWrite = O_WRONLY | O_CREAT | O_TRUNC;
    ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), kWrite, 0600);
    ::posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), kWrite, 0600);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<char*> envp{const_cast<char*>(environment.c_str()), nullptr};
    const int problem = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (problem != 0) throw std::system_error(problem, std::generic_category(), argv[0]);
  }
  ~ChildProcess() {
    if (status_) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  // The exit status, 128 + N after signal N; -1 if it still runs after a minute.
  int wait() {
    constexpr int kAttempts = 6000;
    for (int attempt = 0; attempt < kAttempts && !status_; ++attempt) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_)
        status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      else
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return status_.value_or(-1);
  }

 private:
  pid_t pid_ = 0;
  std::optional<int> status_;
};

}  // namespace godwit::tools
