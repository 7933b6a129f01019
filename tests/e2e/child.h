// A process of a test: started, signalled, waited for with a limit, and never left behind.
#pragma once
#include <sys/resource.h>
#include <sys/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

namespace godwit::e2e {

struct ChildOptions {
  std::vector<std::string> command;                // [0] is looked for in PATH
  std::map<std::string, std::string> environment;  // added to this process's
  std::filesystem::path output;                    // stdout goes to this file
  std::filesystem::path errors;                    // stderr goes to this file
  bool pipe_input = false;                         // write() is its stdin; else that is empty
  std::optional<rlim_t> address_space;             // RLIMIT_AS, bytes
};

// Killed and reaped by the destructor, and by the kernel if this process dies first. Not
// thread-safe; to be started by a thread that lives as long as the child.
class Child {
 public:
  explicit Child(const ChildOptions& options);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  // Its exit status, or 128 + the number of the signal that killed it; nothing if it still runs
  // after `limit`.
  std::optional<int> wait(Nanoseconds limit);
  [[nodiscard]] bool running() { return !wait(Nanoseconds(0)); }
  void write(std::string_view text) const;

  // What it has written so far.
  [[nodiscard]] std::string output() const;
  [[nodiscard]] std::string errors() const;

 private:
  std::filesystem::path output_;
  std::filesystem::path errors_;
  pid_t pid_ = -1;
  UniqueFd pid_fd_;
  UniqueFd input_;
  std::optional<int> status_;
};

std::string read_text(const std::filesystem::path& path);

}  // namespace godwit::e2e
