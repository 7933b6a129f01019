// Choosing a console backend, as the command line's --serial does.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "devices/console/console.h"
#include "vmm/base/error.h"

namespace godwit::devices {

enum class ConsoleKind { kNull, kStdio, kFile, kUnix, kPty };

struct ConsoleConfig {
  ConsoleKind kind = ConsoleKind::kNull;
  std::string path;  // of kFile and kUnix
};

// "stdio", "file=PATH", "unix=PATH", "pty" or "null". Errors: kInvalidArgument.
Result<ConsoleConfig> parse_console(std::string_view text);

// Errors name the path and say what to do: kPermission, kNotFound, kAlreadyExists (a socket that a
// running process serves), kInvalidArgument.
Result<std::unique_ptr<ConsoleBackend>> open_console(const ConsoleConfig& config);

}  // namespace godwit::devices
