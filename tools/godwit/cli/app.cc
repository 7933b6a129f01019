#include "tools/godwit/cli/app.h"

#include <algorithm>
#include <cstdio>
#include <system_error>

#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/help.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/version.h"

namespace godwit::tools {
namespace {

constexpr const char* kDescription =
    "Runs virtual machines on KVM and moves them to other hosts while they run. Each guest is a "
    "process of its own (run, or receive for one that arrives); the other commands talk to that "
    "process through a socket in the run directory.\n"
    "\n"
    "`godwit COMMAND --help` is the manual page of a command.";

constexpr const char* kFooter = R"(
EXAMPLES
       Run the built-in workload guest, and look at it:
           godwit run --name web --memory 1G --kernel builtin:workload --serial null &
           godwit info web

       Make keys once, copy them to both hosts, and move the guest to host2:
           godwit certs ~/godwit-tls --host host1 --host host2
           host2$ godwit receive --name web --listen tcp://0.0.0.0:7000 --tls-dir ~/godwit-tls
           host1$ godwit migrate web tcp://host2:7000 --tls-dir ~/godwit-tls

EXIT STATUS
       0  done
       1  failed; the reason is on stderr
       2  the command line is wrong
       3  no instance of that name runs here
       4  the migration failed; the guest runs on at the source
       5  the migration was cancelled; the guest runs on at the source
       6  the migration's outcome is unknown: the guest is paused at the source and
          may run at the target
       7  detached: the migration goes on without this command
       run and receive end with the guest's own status: see their pages.
)";

void add_commands(CLI::App& app, Action& action) {
  add_run_command(app, action);
  add_receive_command(app, action);
  add_migrate_command(app, action);
  add_list_command(app, action);
  add_info_command(app, action);
  add_pause_command(app, action);
  add_resume_command(app, action);
  add_balloon_command(app, action);
  add_stop_command(app, action);
  add_cancel_command(app, action);
  add_check_command(app, action);
  add_cpu_baseline_command(app, action);
  add_certs_command(app, action);
  add_version_command(app, action);
  add_completion_command(app, action);
}

// How many characters apart two words are, at most as far as their first letters may differ.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replace}));
    }
  }
  return row.back();
}

bool has_command(const CLI::App& app, std::string_view name) {
  return std::ranges::any_of(app.get_subcommands({}),
                             [&](const CLI::App* command) { return command->get_name() == name; });
}

// What the parser would call an unexpected argument.
int unknown_command(const CLI::App& app, std::string_view name) {
  std::string hint;
  for (const CLI::App* command : app.get_subcommands({}))
    if (name.size() <= 20 && distance(name, command->get_name()) <= 2)
      hint = fmt::format("; did you mean `godwit {}`?", command->get_name());
  fmt::print(stderr, "godwit: there is no command '{}'{}\n", name,
             hint.empty() ? "; `godwit --help` lists them" : hint);
  return kExitUsage;
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const auto chosen = app.get_subcommands();
  const std::string command = chosen.empty() ? "godwit" : "godwit " + chosen.back()->get_name();
  fmt::print(stderr, "{}: {}\nTry `{} --help`.\n", command, error.what(), command);
  if (!chosen.empty() && chosen.back()->get_name() == "migrate" &&
      chosen.back()->count("--json") > 0)
    print_unread_migrate(error.what());
  return kExitUsage;
}

int parse_and_run(CLI::App& app, Action& action, int argc, char** argv) {
  if (argc > 1 && argv[1][0] != '-' && !has_command(app, argv[1]))
    return unknown_command(app, argv[1]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return kExitOk;
  } catch (const CLI::CallForVersion&) {
    fmt::print("godwit {}\n", kVersion);
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  return action();
}

}  // namespace

int report_error(const Error& error) {
  fmt::print(stderr, "godwit: {}\n", error.message);
  switch (error.code) {
    case Errc::kNotFound:
      return kExitNotFound;
    default:
      return kExitFailed;
  }
}

int run_command_line(int argc, char** argv) try {
  CLI::App app(kDescription, "godwit");
  app.formatter(manual_formatter());
  app.footer(kFooter);
  app.set_help_flag("-h,--help", "Shows this page.");
  app.set_version_flag("--version", std::string(kVersion), "Shows the version.");
  app.require_subcommand(1);
  Action action;
  add_commands(app, action);
  return parse_and_run(app, action, argc, argv);
} catch (const std::exception& error) {
  fmt::print(stderr, "godwit: {}\n", error.what());
  return kExitFailed;
}

}  // namespace godwit::tools
