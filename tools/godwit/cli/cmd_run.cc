#include <fmt/core.h>

#include <charconv>
#include <memory>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/cpu_option.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/logging.h"
#include "tools/godwit/cli/vmm_options.h"
#include "tools/godwit/process/vmm_process.h"
#include "tools/godwit/text/units.h"

namespace godwit::tools {
namespace {

constexpr const char* kDescription =
    "Boots a guest and stays in the foreground as its VMM until the guest is over, `godwit stop` "
    "or a signal (SIGINT, SIGTERM, SIGHUP) ends it, or `godwit migrate` has moved it to another "
    "host. Nothing is written to stdout except the serial console when it is on stdio; the log "
    "goes to stderr.\n"
    "\n"
    "Any guest that can run can be migrated. Sizes: K, M, G, T are powers of 1024, KB, MB, GB, TB "
    "powers of 1000.";

constexpr const char* kFooter = R"(
EXAMPLES
       A Linux kernel with its console here:
           godwit run --name web --memory 1G --cpus 2 --kernel vmlinuz \
               --initrd initrd.img --cmdline "console=ttyS0 root=/dev/ram0"

       The built-in guest that writes its memory and checks it:
           godwit run --name load --memory 1G --kernel builtin:workload --serial file=load.log

EXIT STATUS
       0  the guest powered off, reset itself (with --no-reboot), was stopped, or runs
          at the target of a migration
       1  the guest could not be started, or rebooted, or a vCPU could not go on;
          stderr says why
       2  the command line is wrong
       (C << 1) | 1
          the guest wrote C to its debug-exit port, as with QEMU's isa-debug-exit
)";

Result<uint32_t> parse_cpus(const std::string& text) {
  uint32_t count = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (problem != std::errc() || end != text.data() + text.size() || count < 1 ||
      count > vmm::kMaxVcpus)
    return make_error(Errc::kInvalidArgument, "'{}' is no number of vCPUs: use 1 to {}", text,
                      vmm::kMaxVcpus);
  return count;
}

struct RunCommand {
  RunOptions options;
  CpuChoice cpu;
  LogOptions log;
};

int run(RunCommand& command) {
  if (const auto logging = start_logging(command.log); !logging)
    return report_error(logging.error());
  const auto chosen = apply_cpu_choice(command.cpu, command.options.vm);
  const auto status = chosen ? run_guest(command.options) : Result<int>(chosen.error());
  if (status) return *status;
  fmt::print(stderr, "godwit: cannot run '{}': {}\n", command.options.name, status.error().message);
  return kExitFailed;
}

}  // namespace

void add_run_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<RunCommand>();
  RunOptions& options = state->options;
  CLI::App& command = add_command(app, "run", "boot a guest and be its VMM", kDescription,
                                  std::string(kFooter) + kFilesSection);
  add_name_option(command, options.name);
  add_memory_size_option(command, options.vm.memory.size,
                         "The guest's memory: 16M to 4T, in steps of 2M.")
      ->required();
  add_boot_options(command, options, "What to boot:")->required();
  add_parsed(command, "--cpus", options.vm.vcpus, parse_cpus, "N", "1",
             "How many vCPUs: 1 to 64 and to what this host allows (`godwit check`).");
  add_cpu_option(command, state->cpu);
  add_console_option(command, options.console);
  add_device_options(command, options.devices);
  add_memory_backing_options(command, options.vm.memory);
  add_dirty_tracking_option(command, options.vm.dirty_tracking);
  add_reboot_option(command, options.reboot);
  add_log_options(command, state->log);
  command.callback([&action, state] { action = [state] { return run(*state); }; });
}

}  // namespace godwit::tools
