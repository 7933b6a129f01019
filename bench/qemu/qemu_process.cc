#include "bench/qemu/qemu_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "bench/qemu/qemu_launch.h"
#include "vmm/base/syscall.h"

namespace godwit::bench {
namespace {

namespace json = boost::json;

constexpr auto kStartTimeout = std::chrono::seconds(60);  // preallocation included

bool final_status(std::string_view status) {
  return status == "completed" || status == "failed" || status == "cancelled";
}

// The number at a path of keys, or 0: what QEMU leaves out is zero.
template <class T>
T number_at(const json::object& object, std::initializer_list<std::string_view> keys) {
  const json::value* value = nullptr;
  const json::object* level = &object;
  for (const std::string_view key : keys) {
    if (level == nullptr) return T{};
    value = level->if_contains(key);
    if (value == nullptr) return T{};
    level = value->if_object();
  }
  if (value == nullptr || !value->is_number()) return T{};
  boost::system::error_code error;
  const T number = value->to_number<T>(error);
  return error ? T{} : number;
}

std::string string_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

QemuMigrationFigures figures_of(const json::object& info) {
  QemuMigrationFigures f;
  f.status = string_at(info, "status");
  if (f.status.empty()) f.status = "none";
  f.error = string_at(info, "error-desc");
  f.total_ms = number_at<double>(info, {"total-time"});
  f.setup_ms = number_at<double>(info, {"setup-time"});
  f.downtime_ms = number_at<double>(info, {"downtime"});
  f.transferred = number_at<uint64_t>(info, {"ram", "transferred"});
  f.total = number_at<uint64_t>(info, {"ram", "total"});
  f.duplicate_pages = number_at<uint64_t>(info, {"ram", "duplicate"});
  f.normal_pages = number_at<uint64_t>(info, {"ram", "normal"});
  f.iterations = number_at<uint64_t>(info, {"ram", "dirty-sync-count"});
  f.postcopy_requests = number_at<uint64_t>(info, {"ram", "postcopy-requests"});
  f.mbps = number_at<double>(info, {"ram", "mbps"});
  f.throttle_percentage = number_at<unsigned>(info, {"cpu-throttle-percentage"});
  f.raw = info;
  return f;
}

// A source says "completed" some microseconds before it has worked out its times, and no event
// tells of these.
bool awaits_figures(const QemuMigrationFigures& f) {
  return f.status == "completed" && f.raw.contains("ram") && f.total_ms == 0;
}

// "tcp:HOST:PORT" of a listening target.
Result<std::string> listening_uri(const json::object& info) {
  const json::value* addresses = info.if_contains("socket-address");
  if (addresses != nullptr && addresses->is_array() && !addresses->get_array().empty()) {
    if (const json::object* address = addresses->get_array()[0].if_object()) {
      if (string_at(*address, "type") == "inet") {
        return fmt::format("tcp:{}:{}", string_at(*address, "host"), string_at(*address, "port"));
      }
    }
  }
  return make_error(Errc::kProtocol, "QEMU does not say on which port it listens");
}

}  // namespace

Result<std::unique_ptr<QemuProcess>> QemuProcess::start(const QemuOptions& options) {
  GODWIT_ASSIGN(LaunchedQemu launched, launch_qemu(options));
  std::unique_ptr<QemuProcess> qemu(
      new QemuProcess(launched.pid, std::move(launched.pid_fd), launched.log_path,
                      QmpClient(std::move(launched.qmp)), std::move(launched.serial), options));
  if (auto ready = qemu->qmp_.negotiate(kStartTimeout); !ready)
    return qemu->with_log(ready.error());
  if (options.incoming) return qemu;
  // A guest may end faster than QEMU answers; that is for wait_exit() to tell.
  const auto running = qemu->qmp_.command("cont");
  if (!running && running.error().code != Errc::kIo) return qemu->with_log(running.error());
  return qemu;
}

QemuProcess::QemuProcess(pid_t pid, UniqueFd pid_fd, std::filesystem::path log_path, QmpClient qmp,
                         SerialClient serial, const QemuOptions& options)
    : pid_(pid),
      pid_fd_(std::move(pid_fd)),
      log_path_(std::move(log_path)),
      qmp_(std::move(qmp)),
      serial_(std::move(serial)),
      tls_(!options.tls_dir.empty()),
      tls_hostname_(options.tls_hostname) {}

QemuProcess::~QemuProcess() {
  if (reaped_) return;
  ::syscall(SYS_pidfd_send_signal, pid_fd_.get(), SIGKILL, nullptr, 0);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

Result<void> QemuProcess::configure(const QemuMigrationSettings& settings) {
  json::array capabilities;
  const auto capability = [&](const char* name, bool on) {
    capabilities.push_back(json::object{{"capability", name}, {"state", on}});
  };
  capability("events", true);
  capability("multifd", settings.multifd_channels > 0);
  capability("auto-converge", settings.auto_converge);
  capability("postcopy-ram", settings.postcopy);
  capability("postcopy-preempt", settings.postcopy_preempt);
  GODWIT_TRY(qmp_.command("migrate-set-capabilities", {{"capabilities", std::move(capabilities)}}));
  json::object parameters;
  if (settings.downtime_limit) parameters["downtime-limit"] = settings.downtime_limit->count();
  if (settings.max_bandwidth) parameters["max-bandwidth"] = settings.max_bandwidth->value;
  if (settings.multifd_channels > 0) parameters["multifd-channels"] = settings.multifd_channels;
  if (tls_) parameters["tls-creds"] = "tls";
  if (tls_ && !tls_hostname_.empty()) parameters["tls-hostname"] = tls_hostname_;
  if (!parameters.empty())
    GODWIT_TRY(qmp_.command("migrate-set-parameters", std::move(parameters)));
  return {};
}

Result<std::string> QemuProcess::listen(const std::string& uri) {
  GODWIT_TRY(qmp_.command("migrate-incoming", {{"uri", uri}}));
  if (!uri.starts_with("tcp:")) return uri;
  GODWIT_ASSIGN(const json::value info, qmp_.command("query-migrate"));
  if (!info.is_object()) return make_error(Errc::kProtocol, "query-migrate gave no object");
  return listening_uri(info.get_object());
}

Result<void> QemuProcess::start_migration(const std::string& uri) {
  GODWIT_TRY(qmp_.command("migrate", {{"uri", uri}}));
  return {};
}

Result<void> QemuProcess::start_postcopy() {
  constexpr auto kPatience = std::chrono::seconds(60);
  const TimePoint deadline = now() + kPatience;
  while (true) {
    GODWIT_ASSIGN(const json::object event,
                  qmp_.next_event(std::max<Nanoseconds>(deadline - now(), {})));
    const std::string name = string_at(event, "event");
    if (name == "MIGRATION_PASS" && number_at<uint64_t>(event, {"data", "pass"}) >= 2) break;
    const json::value* data = event.if_contains("data");
    if (name == "MIGRATION" && data != nullptr && data->is_object() &&
        final_status(string_at(data->get_object(), "status"))) {
      return {};  // it was over before
    }
  }
  GODWIT_TRY(qmp_.command("migrate-start-postcopy"));
  return {};
}

Result<QemuMigrationFigures> QemuProcess::query_migration() {
  GODWIT_ASSIGN(const json::value info, qmp_.command("query-migrate"));
  if (!info.is_object()) return make_error(Errc::kProtocol, "query-migrate gave no object");
  return figures_of(info.get_object());
}

Result<QemuMigrationFigures> QemuProcess::wait_migration(Nanoseconds timeout) {
  const TimePoint deadline = now() + timeout;
  while (true) {
    auto figures = query_migration();
    if (!figures) return with_log(figures.error());
    if (final_status(figures->status) && !awaits_figures(*figures)) return figures;
    if (final_status(figures->status) && now() < deadline) continue;
    // Any event is a reason to look again; those that came before the query cost one look each.
    auto event = qmp_.next_event(std::max<Nanoseconds>(deadline - now(), {}));
    if (event) continue;
    if (event.error().code != Errc::kTimeout) return with_log(event.error());
    return make_error(Errc::kTimeout, "QEMU's migration is still {} after {:.1f} s",
                      figures->status, to_seconds(timeout));
  }
}

Result<void> QemuProcess::cancel_migration() {
  GODWIT_TRY(qmp_.command("migrate_cancel"));
  return {};
}

Nanoseconds QemuProcess::cpu_time() const {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return {};
  return std::chrono::seconds(time.tv_sec) + Nanoseconds(time.tv_nsec);
}

Result<int> QemuProcess::wait_exit(Nanoseconds timeout) {
  pollfd poll_fd{.fd = pid_fd_.get(), .events = POLLIN, .revents = 0};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::min<int64_t>(ms, 1 << 30)));
  if (ready < 0 && errno != EINTR) throw_errno("poll");
  if (ready <= 0) {
    return make_error(Errc::kTimeout, "QEMU (pid {}) still runs after {:.1f} s", pid_,
                      to_seconds(timeout));
  }
  int status = 0;
  check_syscall(::waitpid(pid_, &status, 0), "waitpid");
  reaped_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string QemuProcess::log() const {
  std::ifstream file(log_path_);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Error QemuProcess::with_log(const Error& error) const {
  const std::string text = log();
  if (text.empty()) return error;
  return Error{error.code,
               fmt::format("{}; QEMU printed: {}", error.message, text.substr(0, 2000))};
}

}  // namespace godwit::bench
