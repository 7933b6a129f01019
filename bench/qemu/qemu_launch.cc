#include "bench/qemu/qemu_launch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

Result<UniqueFd> listen_on(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = path.string();
  if (name.size() >= sizeof(address.sun_path)) {
    return make_error(Errc::kInvalidArgument,
                      "Socket path {} is longer than {} bytes; use a shorter directory", name,
                      sizeof(address.sun_path) - 1);
  }
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  UniqueFd fd(check_syscall(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  ::unlink(name.c_str());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return error_from_errno(errno, fmt::format("Cannot make socket {}", name));
  }
  check_syscall(::listen(fd.get(), 1), "listen");
  return fd;
}

Result<UniqueFd> connect_to(const std::filesystem::path& path) {
  GODWIT_ASSIGN(SerialClient client, SerialClient::connect(path, std::chrono::seconds(1)));
  return UniqueFd(check_syscall(::fcntl(client.fd(), F_DUPFD_CLOEXEC, 0), "fcntl"));
}

std::string memory_object(const QemuOptions& options) {
  std::string text = "memory-backend-memfd,share=on";
  if (!options.memory_file.empty()) {
    text = fmt::format("memory-backend-file,share=on,mem-path={}", options.memory_file.string());
  } else if (options.anonymous_memory) {
    text = "memory-backend-ram";
  }
  return text + fmt::format(",id=ram,size={},prealloc={}", options.memory.value,
                            options.preallocate ? "on" : "off");
}

// Between fork and exec: async-signal-safe calls only.
[[noreturn]] void become_qemu(char* const* argv, int log_fd, std::initializer_list<int> inherited,
                              pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);  // the parent was gone before prctl
  ::dup2(log_fd, STDOUT_FILENO);
  ::dup2(log_fd, STDERR_FILENO);
  const int null_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null_fd >= 0) ::dup2(null_fd, STDIN_FILENO);
  for (const int fd : inherited) ::fcntl(fd, F_SETFD, 0);
  ::execvp(argv[0], argv);
  ::_exit(127);
}

}  // namespace

std::vector<std::string> qemu_arguments(const QemuOptions& options, int qmp_fd, int serial_fd) {
  std::vector<std::string> args = options.prefix;
  args.insert(
      args.end(),
      {options.binary, "-name", options.name, "-nodefaults", "-no-user-config", "-display", "none",
       "-no-reboot", "-machine", fmt::format("{},memory-backend=ram", options.machine), "-accel",
       options.accelerator, "-smp", std::to_string(options.cpus), "-m",
       fmt::format("{}B", options.memory.value), "-object", memory_object(options), "-chardev",
       fmt::format("socket,id=qmp,fd={},server=on,wait=off", qmp_fd), "-mon",
       "chardev=qmp,mode=control",
       // wait=on: takes the connection that stands in the backlog before the guest runs.
       "-chardev", fmt::format("socket,id=com1,fd={},server=on,wait=on", serial_fd), "-serial",
       "chardev:com1", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel",
       options.kernel.string(), "-append", options.command_line});
  if (!options.cpu.empty()) args.insert(args.end(), {"-cpu", options.cpu});
  // A guest that boots waits for QMP: it may end before anybody could ask otherwise.
  if (options.incoming) {
    args.insert(args.end(), {"-incoming", "defer"});
  } else {
    args.emplace_back("-S");
  }
  if (!options.tls_dir.empty()) {
    args.insert(args.end(), {"-object", fmt::format("tls-creds-x509,id=tls,dir={},endpoint={},"
                                                    "verify-peer=on",
                                                    options.tls_dir.string(),
                                                    options.incoming ? "server" : "client")});
  }
  args.insert(args.end(), options.extra.begin(), options.extra.end());
  return args;
}

Result<LaunchedQemu> launch_qemu(const QemuOptions& options) {
  if (!have_program(options.binary)) {
    return make_error(Errc::kNotFound,
                      "{} is not in PATH; install it (Debian and Ubuntu: apt install "
                      "qemu-system-x86)",
                      options.binary);
  }
  const auto path = [&](const char* suffix) { return options.work_dir / (options.name + suffix); };
  GODWIT_ASSIGN(UniqueFd qmp_listener, listen_on(path(".qmp")));
  GODWIT_ASSIGN(UniqueFd serial_listener, listen_on(path(".serial")));
  GODWIT_ASSIGN(UniqueFd qmp, connect_to(path(".qmp")));
  GODWIT_ASSIGN(SerialClient serial,
                SerialClient::connect(path(".serial"), std::chrono::seconds(1)));
  const auto log_path = path(".log");
  UniqueFd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!log) return error_from_errno(errno, fmt::format("Cannot write {}", log_path.string()));

  std::vector<std::string> args =
      qemu_arguments(options, qmp_listener.get(), serial_listener.get());
  std::vector<char*> argv;
  argv.reserve(args.size() + 1);
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = check_syscall(::fork(), "fork");
  if (pid == 0) {
    become_qemu(argv.data(), log.get(), {qmp_listener.get(), serial_listener.get()}, parent);
  }
  UniqueFd pid_fd(static_cast<int>(check_syscall(::syscall(SYS_pidfd_open, pid, 0), "pidfd_open")));
  return LaunchedQemu{pid, std::move(pid_fd), std::move(qmp), std::move(serial), log_path};
}

}  // namespace godwit::bench
