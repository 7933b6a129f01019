// The commands: each function adds one with its options; when it is the one that was given,
// `action` does it and returns the exit status.
#pragma once
#include <functional>
#include <string>

#include "vmm/base/error.h"

namespace CLI {
class App;
}

namespace godwit::tools {

using Action = std::function<int()>;

void add_run_command(CLI::App& app, Action& action);
void add_receive_command(CLI::App& app, Action& action);
void add_migrate_command(CLI::App& app, Action& action);
void add_list_command(CLI::App& app, Action& action);
void add_info_command(CLI::App& app, Action& action);
void add_pause_command(CLI::App& app, Action& action);
void add_resume_command(CLI::App& app, Action& action);
void add_balloon_command(CLI::App& app, Action& action);
void add_stop_command(CLI::App& app, Action& action);
void add_cancel_command(CLI::App& app, Action& action);
void add_check_command(CLI::App& app, Action& action);
void add_cpu_baseline_command(CLI::App& app, Action& action);
void add_certs_command(CLI::App& app, Action& action);
void add_version_command(CLI::App& app, Action& action);
void add_completion_command(CLI::App& app, Action& action);

// Prints the object that `migrate --json` promises, for a command line that could not be read.
void print_unread_migrate(const std::string& problem);

// Prints "godwit: TEXT" on stderr; the status that fits the error.
int report_error(const Error& error);

}  // namespace godwit::tools
