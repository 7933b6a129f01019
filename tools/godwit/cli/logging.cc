#include "tools/godwit/cli/logging.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "tools/godwit/api/names.h"
#include "tools/godwit/cli/options.h"

namespace godwit::tools {
namespace {

constexpr Names<spdlog::level::level_enum, 6> kLevels{{{spdlog::level::off, "off"},
                                                       {spdlog::level::err, "error"},
                                                       {spdlog::level::warn, "warn"},
                                                       {spdlog::level::info, "info"},
                                                       {spdlog::level::debug, "debug"},
                                                       {spdlog::level::trace, "trace"}}};

Result<std::string> parse_level(const std::string& text) {
  GODWIT_TRY(parse_name(kLevels, text, "log level"));
  return text;
}

}  // namespace

void add_log_options(CLI::App& command, LogOptions& options) {
  add_parsed(command, "--log-level", options.level, parse_level, "LEVEL", "info",
             "What to log: off, error, warn, info (changes of state), debug (each iteration of a "
             "migration) or trace.");
  add_text(
      command, "--log-file", options.file, "FILE",
      "Appends the log to this file instead of writing it to stderr. It never goes to stdout.");
}

Result<> start_logging(const LogOptions& options) {
  std::shared_ptr<spdlog::logger> logger;
  try {
    logger = options.file.empty() ? spdlog::stderr_color_mt("godwit")
                                  : spdlog::basic_logger_mt("godwit", options.file);
  } catch (const spdlog::spdlog_ex& error) {
    return make_error(Errc::kInvalidArgument, "cannot log to {}: {}", options.file, error.what());
  }
  logger->set_level(*parse_name(kLevels, options.level, "log level"));
  logger->flush_on(spdlog::level::info);
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  spdlog::set_default_logger(logger);
  return {};
}

}  // namespace godwit::tools
