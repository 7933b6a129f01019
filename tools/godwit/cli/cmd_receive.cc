#include <fmt/core.h>

#include <memory>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/logging.h"
#include "tools/godwit/cli/vmm_options.h"
#include "tools/godwit/process/vmm_process.h"
#include "tools/godwit/text/units.h"

namespace godwit::tools {
namespace {

constexpr const char* kDescription =
    "Waits for one guest that `godwit migrate` sends, and becomes its VMM. Its memory size, vCPUs "
    "and CPU come with it and are compared with this host before any page travels; console and "
    "kind of memory are chosen here. Until the guest has been handed over, `godwit cancel`, "
    "`godwit stop` and signals end the wait, and a failure leaves the guest at the source. From "
    "then on this is the process that `godwit run` would be.\n"
    "\n"
    "Connections that do not authenticate, or that do not speak the protocol, are dropped and the "
    "wait goes on. The address is free again once the source knows that its guest arrived; if the "
    "two lose each other at the handover it stays taken for 30 s, and the source asks there what "
    "became of its guest.";

constexpr const char* kFooter = R"(
EXAMPLES
       godwit receive --name web --listen tcp://0.0.0.0:7000 --tls-dir ~/godwit-tls

       Have the memory ready before the guest comes:
           godwit receive --name web --listen tcp://0.0.0.0:7000 --tls-dir ~/godwit-tls \
               --memory 8G --prealloc

       Have the guest bring its disk along (`godwit migrate --copy-storage`), into
       a new file:
           godwit receive --name web --listen tcp://0.0.0.0:7000 --tls-dir ~/godwit-tls \
               --disk path=/var/lib/web.img,create

       Let in only the host that calls itself host1:
           godwit receive --name web --listen 'tcp://[::]:7000' --tls-dir ~/godwit-tls \
               --tls-authz host1

EXIT STATUS
       0  the guest arrived and has ended since (as with run)
       1  no guest arrived, or a vCPU could not go on; stderr says why
       2  the command line is wrong
       5  cancelled, here or at the source, before the guest was handed over
       (C << 1) | 1
          the guest wrote C to its debug-exit port
)";

struct ReceiveCommand {
  ReceiveOptions options;
  LogOptions log;
};

int receive(ReceiveCommand& command) {
  ListenRequest& listen = command.options.listen;
  if (const auto secure = require_security(listen.tls_dir, listen.plaintext); !secure) {
    fmt::print(stderr, "godwit receive: {}\n", secure.error().message);
    return kExitUsage;
  }
  if (listen.plaintext && !listen.tls_authz.empty()) {
    fmt::print(stderr, "godwit receive: --tls-authz needs --tls-dir\n");
    return kExitUsage;
  }
  if (const auto logging = start_logging(command.log); !logging)
    return report_error(logging.error());
  const auto status = receive_guest(command.options);
  if (status) return *status;
  fmt::print(stderr, "godwit: cannot receive '{}': {}\n", command.options.name,
             status.error().message);
  return kExitFailed;
}

void add_listen_options(CLI::App& command, ListenRequest& listen) {
  add_parsed(command, "--listen", listen.endpoint, check_endpoint, "URL", "",
             "Where to wait: tcp://HOST:PORT (0.0.0.0 or [::] for all addresses, port 0 for any "
             "free one, which the log names) or unix://PATH.")
      ->required();
  add_security_options(command, listen.tls_dir, listen.plaintext);
  command
      .add_option("--tls-authz", listen.tls_authz,
                  "Lets in only a source whose certificate has a name that fits this shell "
                  "pattern (host1, *.example.net). May be given several times. Without it, "
                  "whoever the authority certified.")
      ->type_name("PATTERN")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_parsed(command, "--accept-timeout", listen.parameters.accept_timeout, parse_duration,
             "DURATION", "0", "How long to wait for a source to appear; 0 is for ever.");
  add_parsed(command, "--io-timeout", listen.parameters.io_timeout, parse_duration, "DURATION",
             "10s", "A source that sends nothing for so long is lost.");
}

}  // namespace

void add_receive_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<ReceiveCommand>();
  ReceiveOptions& options = state->options;
  CLI::App& command = add_command(app, "receive", "wait for a guest and become its VMM",
                                  kDescription, std::string(kFooter) + kFilesSection);
  add_name_option(command, options.name);
  add_listen_options(command, options.listen);
  add_console_option(command, options.console);
  add_device_options(command, options.devices);
  add_boot_options(
      command, options.boot,
      "What to boot when the guest reboots here (without it, a reset ends the guest):");
  add_reboot_option(command, options.reboot);
  add_memory_size_option(command, options.memory.size,
                         "Makes this much memory ready before the guest comes, so that with "
                         "--prealloc the migration does not wait for it. A guest of another size "
                         "is received all the same, without that.");
  add_memory_backing_options(command, options.memory);
  command.add_flag("--overcommit", options.overcommit,
                   "Takes a guest even if it has more memory than this host could give now "
                   "(MemAvailable and SwapFree in /proc/meminfo). Without it, such a guest is "
                   "refused before any page travels: if it came to use all of its memory, the "
                   "kernel would kill it for that.");
  add_dirty_tracking_option(command, options.dirty_tracking);
  add_log_options(command, state->log);
  command.callback([&action, state] { action = [state] { return receive(*state); }; });
}

}  // namespace godwit::tools
