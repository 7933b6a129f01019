#include <fmt/core.h>

#include <boost/json.hpp>
#include <memory>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/report/host_text.h"
#include "tools/godwit/text/json_text.h"
#include "vmm/host_report.h"

namespace godwit::tools {
namespace {

int check(bool as_json) {
  const vmm::HostReport report = vmm::probe_host();
  if (as_json)
    fmt::print("{}\n", to_text(to_json(report)));
  else
    fmt::print("{}", format_host_report(report));
  return report.usable() ? kExitOk : kExitFailed;
}

}  // namespace

void add_check_command(CLI::App& app, Action& action) {
  auto as_json = std::make_shared<bool>(false);
  CLI::App& command = add_command(
      app, "check", "tell whether this host can run and migrate guests",
      "Tries out what guests and migrations need of this host (KVM, dirty tracking, memory) and "
      "says what is there, what is missing and what to do about it. MISSING is what nothing works "
      "without; no is what is done in another way or cannot be chosen.\n"
      "\n"
      "With --json there is also the CPU that a guest can get here (\"cpu\", with a \"format\" "
      "number): its features by name, CPUID, XCR0, the MSRs that KVM saves, the TSC. `godwit "
      "cpu-baseline` makes of several hosts' output the CPU that all of them can give.",
      R"(
EXIT STATUS
       0  guests can run here and migrate
       1  they cannot; the lines marked MISSING say why
       2  the command line is wrong
)");
  command.add_flag("--json", *as_json, "One JSON object instead.");
  command.callback([&action, as_json] { action = [as_json] { return check(*as_json); }; });
}

}  // namespace godwit::tools
