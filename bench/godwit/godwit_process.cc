#include "bench/godwit/godwit_process.h"

namespace godwit::bench {
namespace json = boost::json;
namespace {

constexpr auto kStartTimeout = std::chrono::seconds(60);  // preallocation included
constexpr auto kLogLook = std::chrono::milliseconds(5);

std::vector<std::string> arguments_of(const GodwitOptions& o,
                                      const std::filesystem::path& serial_path) {
  std::vector<std::string> args = o.prefix;
  args.push_back(o.binary);
  if (o.listen.empty()) {
    args.insert(args.end(), {"run", "--name", o.name, "--memory", o.memory, "--cpus",
                             std::to_string(o.cpus), "--kernel", o.kernel});
    if (!o.command_line.empty()) args.insert(args.end(), {"--cmdline", o.command_line});
  } else {
    args.insert(args.end(), {"receive", "--name", o.name, "--listen", o.listen});
    if (o.preallocate) args.insert(args.end(), {"--memory", o.memory});
    if (o.tls_dir.empty()) {
      args.emplace_back("--plaintext");
    } else {
      args.insert(args.end(), {"--tls-dir", o.tls_dir.string()});
    }
  }
  args.insert(args.end(), {"--serial", "unix=" + serial_path.string()});
  if (o.preallocate) args.emplace_back("--prealloc");
  args.insert(args.end(), o.extra.begin(), o.extra.end());
  return args;
}

GodwitMigrationFigures figures_of(json::object object) {
  GodwitMigrationFigures f;
  f.status = json_text(object, "status");
  f.error = json_text(object, "error-desc");
  f.total_ms = json_number(object, {"total-time"}).value_or(0);
  f.setup_ms = json_number(object, {"setup-time"}).value_or(0);
  f.downtime_ms = json_number(object, {"downtime"});
  f.transferred = static_cast<uint64_t>(json_number(object, {"ram", "transferred"}).value_or(0));
  f.iterations =
      static_cast<uint64_t>(json_number(object, {"ram", "dirty-sync-count"}).value_or(0));
  f.source_cpu_seconds = json_number(object, {"source-cpu-seconds"}).value_or(0);
  f.raw = std::move(object);
  return f;
}

}  // namespace

std::optional<double> json_number(const json::object& object,
                                  std::initializer_list<std::string_view> keys) {
  const json::object* level = &object;
  const json::value* value = nullptr;
  for (const std::string_view key : keys) {
    if (level == nullptr) return std::nullopt;
    value = level->if_contains(key);
    if (value == nullptr) return std::nullopt;
    level = value->if_object();
  }
  if (value == nullptr || !value->is_number()) return std::nullopt;
  boost::system::error_code error;
  const auto number = value->to_number<double>(error);
  return error ? std::nullopt : std::optional(number);
}

std::string json_text(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

Result<std::unique_ptr<GodwitProcess>> GodwitProcess::start(const GodwitOptions& options) {
  const auto log_path = options.work_dir / (options.name + ".log");
  const auto serial_path = options.work_dir / (options.name + ".serial");
  GODWIT_ASSIGN(
      ChildProcess process,
      ChildProcess::start({.command = arguments_of(options, serial_path),
                           .environment = {{"GODWIT_RUN_DIR", (options.work_dir / "run").string()}},
                           .stdout_path = {},
                           .stderr_path = log_path}));
  std::unique_ptr<GodwitProcess> godwit(new GodwitProcess(options, std::move(process), log_path));
  GODWIT_TRY(godwit->wait_until_ready());
  return godwit;
}

// The log says when it is: it names the port that was chosen, too.
Result<void> GodwitProcess::wait_until_ready() {
  const std::string mark = options_.listen.empty()
                               ? fmt::format("guest '{}' runs", options_.name)
                               : fmt::format("'{}' waits for a guest at ", options_.name);
  const TimePoint deadline = now() + kStartTimeout;
  while (true) {
    const bool ended = process_.wait_exit(kLogLook).has_value();
    const std::string text = log();
    const size_t found = text.find(mark);
    const size_t line_end = found == std::string::npos ? found : text.find('\n', found);
    if (line_end != std::string::npos) {
      if (!options_.listen.empty()) {
        url_ = text.substr(found + mark.size(), line_end - found - mark.size());
      }
      return {};
    }
    if (ended) return make_error(Errc::kIo, "godwit did not start; it printed: {}", text);
    if (now() >= deadline) {
      return make_error(Errc::kTimeout, "godwit is not ready after {:.0f} s; it printed: {}",
                        to_seconds(kStartTimeout), text);
    }
  }
}

Result<SerialClient*> GodwitProcess::serial(Nanoseconds timeout) {
  if (!serial_) {
    auto client = SerialClient::connect(options_.work_dir / (options_.name + ".serial"), timeout);
    if (!client) return client.error();
    serial_.emplace(std::move(*client));
  }
  return &*serial_;
}

Result<ChildProcess> GodwitProcess::start_command(std::vector<std::string> arguments,
                                                  const std::filesystem::path& out,
                                                  const std::filesystem::path& err) {
  arguments.insert(arguments.begin(), options_.binary);
  return ChildProcess::start({.command = std::move(arguments),
                              .environment = {{"GODWIT_RUN_DIR", run_dir().string()}},
                              .stdout_path = out,
                              .stderr_path = err});
}

Result<GodwitMigration> GodwitProcess::begin_migration(const std::string& url,
                                                       const GodwitMigrationSettings& settings) {
  std::vector<std::string> args = {"migrate", options_.name, url, "--json"};
  if (settings.tls_dir.empty()) {
    args.emplace_back("--plaintext");
  } else {
    args.insert(args.end(), {"--tls-dir", settings.tls_dir.string()});
  }
  args.insert(args.end(), settings.extra.begin(), settings.extra.end());
  const auto stem = fmt::format("{}.{}", options_.name, ++commands_);
  const auto out = options_.work_dir / (stem + ".out");
  const auto err = options_.work_dir / (stem + ".err");
  GODWIT_ASSIGN(ChildProcess process, start_command(std::move(args), out, err));
  return GodwitMigration(std::move(process), out, err);
}

Result<GodwitMigrationFigures> GodwitMigration::wait(Nanoseconds timeout) {
  GODWIT_ASSIGN(const int status, process_.wait_exit(timeout));
  const std::string diagnostics = read_text_file(err_);
  boost::system::error_code error;
  json::value value = json::parse(read_text_file(out_), error);
  if (error || !value.is_object()) {
    return make_error(Errc::kCorrupt,
                      "godwit migrate --json (exit status {}) did not print a JSON object; it "
                      "said: {}",
                      status, diagnostics);
  }
  GodwitMigrationFigures figures = figures_of(std::move(value.get_object()));
  figures.exit_status = status;
  figures.diagnostics = diagnostics;
  return figures;
}

Result<GodwitMigrationFigures> GodwitProcess::migrate(const std::string& url,
                                                      const GodwitMigrationSettings& settings,
                                                      Nanoseconds timeout) {
  GODWIT_ASSIGN(GodwitMigration migration, begin_migration(url, settings));
  return migration.wait(timeout);
}

Result<GodwitProcess::Output> GodwitProcess::command(const std::vector<std::string>& arguments,
                                                     Nanoseconds timeout) {
  const auto stem = fmt::format("{}.{}", options_.name, ++commands_);
  const auto out = options_.work_dir / (stem + ".out");
  const auto err = options_.work_dir / (stem + ".err");
  GODWIT_ASSIGN(ChildProcess process, start_command(arguments, out, err));
  GODWIT_ASSIGN(const int status, process.wait_exit(timeout));
  return Output{status, read_text_file(out), read_text_file(err)};
}

}  // namespace godwit::bench
