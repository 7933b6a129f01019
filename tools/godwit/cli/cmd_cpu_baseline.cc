#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <memory>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/report/baseline.h"
#include "tools/godwit/report/cpu_json.h"
#include "tools/godwit/text/json_text.h"
#include "vmm/base/fd.h"

namespace godwit::tools {
namespace json = boost::json;
namespace {

constexpr int kMaxFiles = 256;

constexpr const char* kDescription =
    "Reads what `godwit check --json` printed on two or more hosts and computes the CPU that all "
    "of "
    "them can give. A guest that is started with it (`godwit run --cpu baseline=FILE`) can run on, "
    "and move between, all of these hosts. A baseline may be given as FILE too, to add further "
    "hosts "
    "to it. FILE may be a pipe.\n"
    "\n"
    "The baseline has the features, state components and MSRs that all hosts have, the smallest "
    "number of address bits, and the family, model and stepping of the oldest host, so that the "
    "guest's kernel works around the flaws of that one. Its TSC runs as that of a host that cannot "
    "scale it, else as the slowest. All hosts must have CPUs of one vendor.\n"
    "\n"
    "What each host has that the baseline has not is said on stderr, and by whose lack; so is a "
    "TSC "
    "frequency too far from the baseline's for a host that cannot scale it (250 ppm).";

constexpr const char* kFooter = R"(
EXAMPLES
       A baseline of two hosts, and a guest that runs on both:
           host1$ godwit check --json > host1.json
           host2$ godwit check --json > host2.json
           host1$ godwit cpu-baseline host1.json host2.json --output group.json
           host1$ godwit run --cpu baseline=group.json --name web ...

OUTPUT
       {"cpu": {...}}, with "cpu" as in the output of `godwit check --json`; with
       --json also "left-out" ([{"host", "what": [...], "lacking": [...]}]) and
       "warnings" ([...]).

EXIT STATUS
       0  done
       1  a file cannot be read or is not understood, the hosts have no baseline, or
          it cannot be written; stderr says why
       2  the command line is wrong
)";

struct BaselineCommand {
  std::vector<std::string> files;
  std::string output;
  bool as_json = false;
};

Result<> write_file(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return error_from_errno(errno, fmt::format("{} cannot be written", path));
  while (!text.empty()) {
    const ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, fmt::format("{} cannot be written", path));
    text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<Baseline> baseline_of_files(const std::vector<std::string>& files) {
  std::vector<NamedCpu> hosts;
  for (const std::string& file : files) {
    GODWIT_ASSIGN(auto cpu, read_cpu_file(file));
    hosts.push_back({file, std::move(cpu)});
  }
  return make_baseline(hosts);
}

int cpu_baseline(const BaselineCommand& command) {
  const auto baseline = baseline_of_files(command.files);
  if (!baseline) {
    fmt::print(stderr, "godwit cpu-baseline: {}\n", baseline.error().message);
    return kExitFailed;
  }
  const std::string file = to_pretty_text(json::object{{"cpu", to_json(baseline->cpu)}}) + '\n';
  if (!command.output.empty()) {
    if (const auto written = write_file(command.output, file); !written) {
      fmt::print(stderr, "godwit cpu-baseline: {}\n", written.error().message);
      return kExitFailed;
    }
  }
  if (command.as_json)
    fmt::print("{}\n", to_text(to_json(*baseline)));
  else if (command.output.empty())
    fmt::print("{}", file);
  fmt::print(stderr, "{}", format_left_out(*baseline));
  return kExitOk;
}

}  // namespace

void add_cpu_baseline_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<BaselineCommand>();
  CLI::App& command =
      add_command(app, "cpu-baseline", "make the CPU that several hosts can give to a guest",
                  kDescription, kFooter);
  command
      .add_option("FILE", state->files,
                  "What `godwit check --json` printed on a host, or a baseline.")
      ->required()
      ->expected(2, kMaxFiles)
      ->type_name("");
  add_text(command, "--output", state->output, "FILE",
           "Where to write the baseline, not to stdout.");
  command.add_flag("--json", state->as_json,
                   "Prints one JSON object, with the baseline and what is left out of it.");
  command.callback([&action, state] { action = [state] { return cpu_baseline(*state); }; });
}

}  // namespace godwit::tools
