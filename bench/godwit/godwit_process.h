// One godwit VMM, driven through the command as a user drives it: `godwit run` or `godwit receive`
// in a process of its own, `godwit migrate` for a move. For end-to-end tests and the benchmark.
#pragma once
#include <boost/json.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/child_process.h"
#include "bench/serial_client.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"

namespace godwit::bench {

struct GodwitOptions {
  std::string binary = "godwit";   // a path, or looked for in PATH
  std::string name = "guest";      // --name; files in work_dir begin with it
  std::filesystem::path work_dir;  // exists; log, serial socket and run directory are in it
  std::string memory = "1G";       // receiving: made in advance, if preallocated
  unsigned cpus = 1;               // run only
  std::string kernel = "builtin:workload";  // run only
  std::string command_line;                 // run only
  std::string listen;                       // not empty: `godwit receive --listen` of this URL
  std::filesystem::path tls_dir;            // receive only; empty: --plaintext
  bool preallocate = false;
  std::vector<std::string> prefix;  // before the command: {"ip", "netns", "exec", NAME}
  std::vector<std::string> extra;   // more arguments
};

struct GodwitMigrationSettings {
  std::filesystem::path tls_dir;   // empty: --plaintext
  std::vector<std::string> extra;  // {"--downtime-limit", "5ms"}
};

// What `godwit migrate --json` printed. Sizes are bytes; what the object lacks is 0.
struct GodwitMigrationFigures {
  int exit_status = 0;  // of `godwit migrate`
  std::string status;   // "completed", "failed", "cancelled", ...
  std::string error;    // error-desc
  double total_ms = 0;
  double setup_ms = 0;
  std::optional<double> downtime_ms;
  uint64_t transferred = 0;
  uint64_t iterations = 0;
  double source_cpu_seconds = 0;  // without vCPUs
  boost::json::object raw;
  std::string diagnostics;  // its stderr
};

// A `godwit migrate` under way. It is killed with this object, which does not cancel the migration.
class GodwitMigration {
 public:
  // kTimeout (it goes on); kCorrupt if what it printed is not one JSON object.
  Result<GodwitMigrationFigures> wait(Nanoseconds timeout);
  // For signals: SIGINT cancels the migration.
  [[nodiscard]] ChildProcess& process() { return process_; }

 private:
  friend class GodwitProcess;
  GodwitMigration(ChildProcess process, std::filesystem::path out, std::filesystem::path err)
      : process_(std::move(process)), out_(std::move(out)), err_(std::move(err)) {}

  ChildProcess process_;
  std::filesystem::path out_;
  std::filesystem::path err_;
};

// Not thread-safe. The process dies with this object, and with the thread that started it.
class GodwitProcess {
 public:
  // Returns when the guest runs, or `receive` listens. kIo carries what it printed if it ended
  // before.
  static Result<std::unique_ptr<GodwitProcess>> start(const GodwitOptions& options);

  // The guest's serial port, connected at the first call. At a target it exists once a source has
  // introduced its guest. What the guest printed before it was connected is kept by the VMM up to a
  // limit.
  Result<SerialClient*> serial(Nanoseconds timeout = std::chrono::seconds(10));

  // Where a target listens, with the port that was chosen.
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] ChildProcess& process() { return process_; }
  [[nodiscard]] std::filesystem::path run_dir() const { return options_.work_dir / "run"; }
  // Its stderr so far.
  [[nodiscard]] std::string log() const { return read_text_file(log_path_); }

  // `godwit migrate NAME URL --json`, with the run directory of this instance.
  Result<GodwitMigration> begin_migration(const std::string& url,
                                          const GodwitMigrationSettings& settings);
  // The same, waited for. A migration that failed is a figure, not an error.
  Result<GodwitMigrationFigures> migrate(const std::string& url,
                                         const GodwitMigrationSettings& settings,
                                         Nanoseconds timeout);
  struct Output {
    int exit_status = 0;
    std::string out;
    std::string err;
  };
  // Any other command of this run directory: {"info", "web", "--json"}.
  Result<Output> command(const std::vector<std::string>& arguments,
                         Nanoseconds timeout = std::chrono::seconds(30));

 private:
  GodwitProcess(const GodwitOptions& options, ChildProcess process, std::filesystem::path log_path)
      : options_(options), process_(std::move(process)), log_path_(std::move(log_path)) {}
  Result<void> wait_until_ready();
  Result<ChildProcess> start_command(std::vector<std::string> arguments,
                                     const std::filesystem::path& out,
                                     const std::filesystem::path& err);

  GodwitOptions options_;
  ChildProcess process_;
  std::filesystem::path log_path_;
  std::string url_;
  std::optional<SerialClient> serial_;
  unsigned commands_ = 0;
};

// The number at a path of keys, or nothing if it is missing or no number.
std::optional<double> json_number(const boost::json::object& object,
                                  std::initializer_list<std::string_view> keys);
// The text at a key, or "".
std::string json_text(const boost::json::object& object, std::string_view key);

}  // namespace godwit::bench
