#include "bench/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

Result<UniqueFd> open_output(const std::filesystem::path& path) {
  const std::filesystem::path name = path.empty() ? "/dev/null" : path;
  UniqueFd fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return error_from_errno(errno, fmt::format("Cannot write {}", name.string()));
  return fd;
}

// Our environment with the child's own variables instead of any of the same name.
std::vector<std::string> environment_of(const ChildOptions& options) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const bool replaced = std::ranges::any_of(
        options.environment, [&](const auto& own) { return text.starts_with(own.first + "="); });
    if (!replaced) result.emplace_back(text);
  }
  for (const auto& [name, value] : options.environment) result.push_back(name + "=" + value);
  return result;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Between fork and exec: async-signal-safe calls only.
[[noreturn]] void become(char* const* argv, char* const* envp, int stdout_fd, int stderr_fd,
                         pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);  // the parent was gone before prctl
  const int null_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null_fd >= 0) ::dup2(null_fd, STDIN_FILENO);
  ::dup2(stdout_fd, STDOUT_FILENO);
  ::dup2(stderr_fd, STDERR_FILENO);
  ::execvpe(argv[0], argv, envp);
  ::_exit(127);
}

Nanoseconds to_duration(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const ChildOptions& options) {
  if (!have_program(options.command.front())) {
    return make_error(Errc::kNotFound, "{} is no program that can be run; give its path",
                      options.command.front());
  }
  GODWIT_ASSIGN(const UniqueFd out, open_output(options.stdout_path));
  GODWIT_ASSIGN(const UniqueFd err, open_output(options.stderr_path));
  std::vector<std::string> arguments = options.command;
  std::vector<std::string> environment = environment_of(options);
  const std::vector<char*> argv = pointers_to(arguments);
  const std::vector<char*> envp = pointers_to(environment);
  const pid_t parent = ::getpid();
  const pid_t pid = check_syscall(::fork(), "fork");
  if (pid == 0) become(argv.data(), envp.data(), out.get(), err.get(), parent);
  const long pid_fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (pid_fd < 0) {
    const int error = errno;
    ::kill(pid, SIGKILL);  // not reaped yet, so the pid is still its own
    ::waitpid(pid, nullptr, 0);
    return error_from_errno(error, "Cannot open a pidfd");
  }
  return ChildProcess(pid, UniqueFd(static_cast<int>(pid_fd)));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept = default;

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this == &other) return *this;
  kill();
  pid_ = other.pid_;
  pid_fd_ = std::move(other.pid_fd_);
  exit_status_ = other.exit_status_;
  final_cpu_time_ = other.final_cpu_time_;
  return *this;
}

ChildProcess::~ChildProcess() {
  kill();
}

void ChildProcess::signal(int number) const {
  if (pid_fd_) ::syscall(SYS_pidfd_send_signal, pid_fd_.get(), number, nullptr, 0);
}

void ChildProcess::kill() {
  if (!pid_fd_) return;
  signal(SIGKILL);
  reap();
}

void ChildProcess::reap() {
  int status = 0;
  rusage usage{};
  while (::wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  pid_fd_.reset();
  exit_status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  final_cpu_time_ = to_duration(usage.ru_utime) + to_duration(usage.ru_stime);
}

Nanoseconds ChildProcess::cpu_time() const {
  if (!pid_fd_) return final_cpu_time_;
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return {};
  return std::chrono::seconds(time.tv_sec) + Nanoseconds(time.tv_nsec);
}

Result<int> ChildProcess::wait_exit(Nanoseconds timeout) {
  if (!pid_fd_) return exit_status_;
  const TimePoint deadline = now() + timeout;
  pollfd poll_fd{.fd = pid_fd_.get(), .events = POLLIN, .revents = 0};
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now()).count();
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30)));
    if (ready < 0 && errno != EINTR) throw_errno("poll");
    if (ready > 0) break;
    if (now() < deadline) continue;
    return make_error(Errc::kTimeout, "Process {} still runs after {:.1f} s", pid_,
                      to_seconds(timeout));
  }
  reap();
  return exit_status_;
}

bool have_program(const std::string& program) {
  if (program.find('/') != std::string::npos) return ::access(program.c_str(), X_OK) == 0;
  const char* path = ::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (true) {
    const size_t colon = rest.find(':');
    const auto candidate = std::filesystem::path(rest.substr(0, colon)) / program;
    if (::access(candidate.c_str(), X_OK) == 0) return true;
    if (colon == std::string_view::npos) return false;
    rest.remove_prefix(colon + 1);
  }
}

std::string read_text_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace godwit::bench
