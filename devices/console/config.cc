#include "devices/console/config.h"

#include "devices/console/buffered_console.h"
#include "devices/console/file_endpoint.h"
#include "devices/console/pty_endpoint.h"
#include "devices/console/stdio_endpoint.h"
#include "devices/console/unix_endpoint.h"

namespace godwit::devices {
namespace {

constexpr std::string_view kForms = "stdio, file=PATH, unix=PATH, pty or null";

Result<std::unique_ptr<ConsoleEndpoint>> open_endpoint(const ConsoleConfig& config) {
  switch (config.kind) {
    case ConsoleKind::kFile:
      return FileEndpoint::open(config.path);
    case ConsoleKind::kUnix:
      return UnixEndpoint::open(config.path);
    case ConsoleKind::kPty:
      return PtyEndpoint::open();
    case ConsoleKind::kStdio:
    case ConsoleKind::kNull:
      break;
  }
  return std::make_unique<StdioEndpoint>();
}

}  // namespace

Result<ConsoleConfig> parse_console(std::string_view text) {
  const size_t equals = text.find('=');
  const std::string_view kind = text.substr(0, equals);
  const bool has_path = equals != std::string_view::npos;
  const std::string path(has_path ? text.substr(equals + 1) : "");
  if (kind == "file" || kind == "unix") {
    if (path.empty()) {
      return make_error(Errc::kInvalidArgument,
                        "serial console '{}': a path is missing; write {}=PATH", text, kind);
    }
    if (path.find('\0') != std::string::npos) {
      return make_error(Errc::kInvalidArgument,
                        "serial console: the path of {}= holds a zero byte; name another", kind);
    }
    return ConsoleConfig{kind == "file" ? ConsoleKind::kFile : ConsoleKind::kUnix, path};
  }
  const bool known = kind == "stdio" || kind == "pty" || kind == "null";
  if (known && has_path) {
    return make_error(Errc::kInvalidArgument, "serial console '{}': {} takes no value; write {}",
                      text, kind, kind);
  }
  if (!known) {
    return make_error(Errc::kInvalidArgument, "serial console '{}' is not known; use {}", text,
                      kForms);
  }
  return ConsoleConfig{kind == "stdio" ? ConsoleKind::kStdio
                       : kind == "pty" ? ConsoleKind::kPty
                                       : ConsoleKind::kNull,
                       {}};
}

Result<std::unique_ptr<ConsoleBackend>> open_console(const ConsoleConfig& config) {
  if (config.kind == ConsoleKind::kNull) return std::make_unique<NullConsole>();
  GODWIT_ASSIGN(auto endpoint, open_endpoint(config));
  return std::make_unique<BufferedConsole>(std::move(endpoint));
}

}  // namespace godwit::devices
