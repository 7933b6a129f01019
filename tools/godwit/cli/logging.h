// Where a VMM process logs to.
#pragma once
#include <string>

#include "vmm/base/error.h"

namespace CLI {
class App;
}

namespace godwit::tools {

struct LogOptions {
  std::string level = "info";
  std::string file;  // empty: stderr
};
void add_log_options(CLI::App& command, LogOptions& options);
// Errors: the file cannot be opened.
Result<> start_logging(const LogOptions& options);

}  // namespace godwit::tools
