// The `godwit` command.
#pragma once

namespace godwit::tools {

// Runs one command; the exit status (exit_status.h).
int run_command_line(int argc, char** argv);

}  // namespace godwit::tools
