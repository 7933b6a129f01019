#include "tests/e2e/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>

#include "vmm/base/syscall.h"

namespace godwit::e2e {
namespace {

UniqueFd open_for_writing(const std::filesystem::path& path) {
  return UniqueFd(check_syscall(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), "open of a log file"));
}

// "NAME=VALUE" of this process's environment, with `added` in place of what has the same name.
std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) merged.push_back(text);
  }
  for (const auto& [name, value] : added) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

Child::Child(const ChildOptions& options) : output_(options.output), errors_(options.errors) {
  // All memory is allocated before the fork: other threads may hold the heap's locks.
  std::vector<std::string> command = options.command;
  std::vector<std::string> environment = merged_environment(options.environment);
  const std::vector<char*> argv = pointers(command);
  const std::vector<char*> envp = pointers(environment);
  const UniqueFd out = open_for_writing(output_);
  const UniqueFd err = open_for_writing(errors_);
  UniqueFd in(check_syscall(::open("/dev/null", O_RDONLY | O_CLOEXEC), "open of /dev/null"));
  if (options.pipe_input) {
    int ends[2];
    check_syscall(::pipe2(ends, O_CLOEXEC), "pipe2");
    in.reset(ends[0]);
    input_.reset(ends[1]);
  }
  const pid_t parent = ::getpid();
  pid_ = check_syscall(::fork(), "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    if (options.address_space) {
      const rlimit limit{*options.address_space, *options.address_space};
      ::setrlimit(RLIMIT_AS, &limit);
    }
    ::dup2(in.get(), STDIN_FILENO);
    ::dup2(out.get(), STDOUT_FILENO);
    ::dup2(err.get(), STDERR_FILENO);
    ::execvpe(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  pid_fd_.reset(static_cast<int>(check_syscall(::syscall(SYS_pidfd_open, pid_, 0), "pidfd_open")));
}

Child::~Child() {
  if (status_) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Child::signal(int number) const {
  if (!status_) ::syscall(SYS_pidfd_send_signal, pid_fd_.get(), number, nullptr, 0);
}

std::optional<int> Child::wait(Nanoseconds limit) {
  if (status_) return status_;
  pollfd ended{pid_fd_.get(), POLLIN, 0};
  const auto limit_ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  if (check_syscall(::poll(&ended, 1, static_cast<int>(limit_ms)), "poll") == 0) return {};
  int status = 0;
  check_syscall(::waitpid(pid_, &status, 0), "waitpid");
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return status_;
}

void Child::write(std::string_view text) const {
  check_syscall(::write(input_.get(), text.data(), text.size()), "write to a child");
}

std::string Child::output() const {
  return read_text(output_);
}

std::string Child::errors() const {
  return read_text(errors_);
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace godwit::e2e
