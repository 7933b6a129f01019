#include <fmt/core.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <memory>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/instances.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/instance/instance_lock.h"
#include "tools/godwit/text/units.h"
#include "vmm/base/fd.h"

namespace godwit::tools {
namespace {

constexpr const char* kDescription =
    "Ends a guest and its VMM, and returns when both are gone. The guest's ACPI power button is "
    "pressed, so that it can power itself off. One that has not done so when the time is up is "
    "ended as if its power had been cut: the vCPUs stop, the console is flushed, the VMM goes. "
    "That happens at once when nobody would hear of the button: the guest is paused, or has no "
    "driver for it (Linux: the module `button`; user space must act on it, too). stderr says "
    "which of the two it was. A VMM that does not go then is killed. A migration to another host "
    "is cancelled first.\n"
    "\n"
    "An instance that still waits for a guest (`godwit receive`) ends too.";

constexpr const char* kFooter = R"(
EXIT STATUS
       0  it is gone
       1  it could not be ended; stderr says why
       2  the command line is wrong
       3  no instance of that name runs here
)";

struct StopCommand {
  std::string name;
  Nanoseconds timeout = std::chrono::seconds(15);
  bool now = false;
  bool force = false;
};

// Whether the process has ended before `limit`.
bool wait_for_end(const UniqueFd& process, Nanoseconds limit) {
  pollfd ended{process.get(), POLLIN, 0};
  const auto deadline = now() + limit;
  for (;;) {
    const auto left = std::max(deadline - now(), Nanoseconds(0));
    const auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    if (::poll(&ended, 1, static_cast<int>(std::min<int64_t>(left_ms, 1'000'000))) > 0) return true;
    if (now() >= deadline) return false;
  }
}

// The process that holds the name, in a form that cannot come to mean another one.
Result<UniqueFd> open_owner(const RunDir& dir, const std::string& name) {
  const auto pid = instance_owner(dir, name);
  if (!pid) return no_such_instance(name, dir.socket_path(name));
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  // Still the owner: then the descriptor is of the owner, not of a later process of that number.
  if (!process || instance_owner(dir, name) != pid)
    return no_such_instance(name, dir.socket_path(name));
  return process;
}

Result<> kill_process(const UniqueFd& process, const std::string& name) {
  if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH)
    return error_from_errno(errno, fmt::format("cannot kill the VMM of '{}'", name));
  constexpr Nanoseconds kLimit = std::chrono::seconds(30);  // a large guest's memory takes time
  if (wait_for_end(process, kLimit)) return {};
  return make_error(Errc::kTimeout, "the VMM of '{}' was killed but does not go: the host is stuck",
                    name);
}

// What a VMM needs to flush a console and to give back memory.
constexpr Nanoseconds kEndLimit = std::chrono::seconds(15);

// Whether the guest has powered itself off. Says on stderr how it went.
bool power_off(ApiClient& client, const UniqueFd& process, const StopCommand& command) {
  client.set_timeout(std::max<Nanoseconds>(command.timeout, std::chrono::milliseconds(1)));
  const TimePoint deadline = now() + command.timeout;
  const auto asked = client.put("vm.power-button");
  if (!asked) {
    // One that does not answer may be on its way out already: it has the same time.
    const bool silent = asked.error().code == Errc::kIo || asked.error().code == Errc::kTimeout;
    if (wait_for_end(process, silent ? deadline - now() : Nanoseconds(0))) return true;
    fmt::print(stderr, "godwit: '{}' is ended without being asked: {}\n", command.name,
               asked.error().message);
    return false;
  }
  if (wait_for_end(process, deadline - now())) {
    fmt::print(stderr, "godwit: '{}' has powered itself off\n", command.name);
    return true;
  }
  fmt::print(stderr, "godwit: '{}' has not powered itself off within {}: it is ended\n",
             command.name, format_duration(command.timeout));
  return false;
}

Result<> stop(const StopCommand& command) {
  GODWIT_ASSIGN(const RunDir dir, RunDir::open());
  GODWIT_ASSIGN(const UniqueFd process, open_owner(dir, command.name));
  if (!command.force) {
    ApiClient client(command.name, dir.socket_path(command.name));
    if (!command.now && power_off(client, process, command)) return {};
    client.set_timeout(kEndLimit);
    const TimePoint deadline = now() + kEndLimit;
    const auto asked = client.put("vm.shutdown");
    if (wait_for_end(process, deadline - now())) return {};
    fmt::print(stderr, "godwit: '{}' does not end within {}{}: killing it\n", command.name,
               format_duration(kEndLimit),
               asked ? std::string() : " (" + asked.error().message + ")");
  }
  return kill_process(process, command.name);
}

}  // namespace

void add_stop_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<StopCommand>();
  CLI::App& command =
      add_command(app, "stop", "end a guest", kDescription, std::string(kFooter) + kFilesSection);
  add_instance(command, state->name);
  add_parsed(command, "--timeout", state->timeout, parse_duration, "DURATION", "15s",
             "How long the guest may take to power itself off.");
  command.add_flag("--now", state->now, "Ends the guest at once, without asking it.");
  command.add_flag("--force", state->force, "Kills the VMM at once.");
  command.callback([&action, state] {
    action = [state] {
      const auto stopped = stop(*state);
      return stopped ? static_cast<int>(kExitOk) : report_error(stopped.error());
    };
  });
}

}  // namespace godwit::tools
