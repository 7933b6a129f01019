#include <fmt/core.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <charconv>
#include <memory>

#include "tools/godwit/api/messages.h"
#include "tools/godwit/api/migration_stream.h"
#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/instances.h"
#include "tools/godwit/cli/progress_display.h"
#include "tools/godwit/cli/vmm_options.h"
#include "tools/godwit/report/migration_json.h"
#include "tools/godwit/report/migration_report.h"
#include "tools/godwit/text/json_text.h"
#include "tools/godwit/text/units.h"

namespace godwit::tools {
namespace json = boost::json;
using migration::MigrationResult;
using migration::Status;
namespace {

constexpr const char* kDescription =
    "Moves a running guest to the host where `godwit receive` waits at URL (tcp://HOST:PORT, IPv6 "
    "in brackets, or unix://PATH). The guest runs on while its memory is copied, again and again "
    "what it changed meanwhile; when the measured rest fits the downtime limit it is stopped here "
    "and goes on there. Afterwards the VMM here ends with status 0.\n"
    "\n"
    "Whatever fails before the handover is committed leaves the guest running here, and says why. "
    "Ctrl-C cancels the migration; a second Ctrl-C leaves it to the VMM and returns.\n"
    "\n"
    "On a terminal a line shows iteration, percent copied, rate, rate of dirtying, the downtime if "
    "the switchover came now, and the time left; elsewhere each iteration is a line. At the end "
    "comes a report with the downtime ledger: where each microsecond went, on both hosts.\n"
    "\n"
    "Durations: ns, us, ms, s, min, h. Bandwidths, per second: kbit, Mbit, Gbit, kB, MB, GB "
    "(powers of 1000), KiB, MiB, GiB (powers of 1024).";

constexpr const char* kFooter = R"(
JSON
       With --json stdout gets exactly one object, also after a failure, in the words
       of QEMU's query-migrate: status, total-time, setup-time, downtime,
       expected-downtime, error-desc, ram (transferred, remaining, total, duplicate,
       normal, normal-bytes, dirty-pages-rate, mbps, dirty-sync-count, page-size,
       pages-per-second, precopy-bytes, downtime-bytes), compression; and ledger,
       iterations, verify, with --copy-storage disk. Times are milliseconds with
       decimals.

EXAMPLES
       godwit migrate web tcp://host2:7000 --tls-dir ~/godwit-tls

       At most 5 ms of standstill, at most half of a 10 Gbit link, proof of the copy:
           godwit migrate web tcp://host2:7000 --tls-dir ~/godwit-tls \
               --downtime-limit 5ms --max-bandwidth 5Gbit --verify

       A guest with a disk in a file of this host. At the target:
           godwit receive --name web --listen tcp://0.0.0.0:7000 \
               --tls-dir ~/godwit-tls --disk path=/var/lib/web.img,create
       and here:
           godwit migrate web tcp://host2:7000 --tls-dir ~/godwit-tls --copy-storage

       Give up if the guest writes too fast, and look at the figures:
           godwit migrate web tcp://host2:7000 --tls-dir ~/godwit-tls \
               --on-no-converge cancel --converge-timeout 20s --json | jq .ram

EXIT STATUS
       0  the guest runs at the target
       1  the VMM refused: it has no guest yet, is migrating already, or the like
       2  the command line is wrong
       3  no instance of that name runs here
       4  the migration failed; the guest runs on here
       5  the migration was cancelled; the guest runs on here
       6  the outcome is unknown: the guest is paused here and may run at the target
          (see `godwit resume --help`), or the VMM here was lost under way
       7  detached by a second Ctrl-C: the migration goes on
)";

struct MigrateCommand {
  std::string name;
  MigrationRequest request;
  bool json = false;
};

// The one object of --json, also when there is no result.
void print_json(const MigrateCommand& command, const MigrationResult& result) {
  json::object object{{"name", command.name}};
  for (auto& [key, value] : to_json(result)) object[key] = value;
  fmt::print("{}\n", to_text(object));
}

int fail(const MigrateCommand& command, const Error& error, int status) {
  fmt::print(stderr, "godwit: cannot migrate '{}': {}\n", command.name, error.message);
  if (!command.json) return status;
  MigrationResult result;
  result.progress.status = error.code == Errc::kUnknownOutcome ? Status::kUnknown : Status::kFailed;
  result.error = error;
  print_json(command, result);
  return status;
}

int exit_status(const MigrationResult& result) {
  switch (result.progress.status) {
    case Status::kCompleted:
      return kExitOk;
    case Status::kCancelled:
      return kExitCancelled;
    case Status::kUnknown:
      return kExitUnknownOutcome;
    default:
      return kExitStaysAtSource;
  }
}

int refused(const MigrateCommand& command, const Error& error) {
  return fail(command, error,
              error.code == Errc::kUnknownOutcome ? kExitUnknownOutcome : kExitFailed);
}

int finish(const MigrateCommand& command, const MigrationResult& result) {
  if (command.json) {
    print_json(command, result);
  } else {
    fmt::print("{}", format_report(command.name, result));
  }
  if (result.progress.status != Status::kCompleted)
    fmt::print(stderr, "godwit: {}\n", format_outcome(command.name, result));
  return exit_status(result);
}

int migrate(MigrateCommand& command) {
  if (const auto secure = require_security(command.request.tls_dir, command.request.plaintext);
      !secure)
    return fail(command, secure.error(), kExitUsage);
  if (const auto valid = check_parameters(command.request.parameters); !valid)
    return fail(command, valid.error(), kExitUsage);
  const auto client = find_instance(command.name);
  if (!client)
    return fail(command, client.error(),
                client.error().code == Errc::kNotFound ? kExitNotFound : kExitFailed);
  Result<StreamOutcome> outcome{StreamOutcome{}};
  {
    ProgressDisplay display(command.json ? stderr : stdout);
    const bool quiet = command.json && ::isatty(STDERR_FILENO) != 1;
    StreamHandlers handlers;
    if (!quiet) handlers.on_progress = [&](const auto& progress) { display.show(progress); };
    handlers.on_notice = [&](const std::string& text) {
      display.clear();
      fmt::print(stderr, "godwit: {}\n", text);
    };
    outcome = follow_migration(*client, command.request, handlers);
  }
  if (!outcome) return refused(command, outcome.error());
  if (outcome->result) return finish(command, *outcome->result);
  fmt::print(stderr, "godwit: detached; the migration of '{}' goes on: see `godwit info {}`\n",
             command.name, command.name);
  if (command.json) print_json(command, {.progress = {.status = Status::kActive}});
  return kExitDetached;
}

Result<uint32_t> parse_channels(const std::string& text) {
  uint32_t count = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (problem != std::errc() || end != text.data() + text.size() || count < 1 ||
      count > migration::kMaxChannels)
    return make_error(Errc::kInvalidArgument, "'{}' is no number of channels: use 1 to {}", text,
                      migration::kMaxChannels);
  return count;
}

// A default in the form that the option itself takes: "50ms".
std::string duration_default(Nanoseconds duration) {
  const auto ns = duration.count();
  if (ns == 0) return "0";
  if (ns % 1'000'000'000 == 0) return fmt::format("{}s", ns / 1'000'000'000);
  if (ns % 1'000'000 == 0) return fmt::format("{}ms", ns / 1'000'000);
  return fmt::format("{}ns", ns);
}

void add_limits(CLI::App& command, migration::MigrationParameters& p) {
  add_parsed(command, "--downtime-limit", p.downtime_limit, parse_duration, "DURATION",
             duration_default(p.downtime_limit),
             "How long the guest may stand still at the switchover. It is stopped once the whole "
             "blackout (stop, rest of memory, state, load, round trip), each part measured, is "
             "predicted to fit.");
  add_parsed(command, "--max-bandwidth", p.max_bandwidth_bytes_per_second, parse_bandwidth, "RATE",
             "0", "At most so much on the wire per second, all channels together; 0 is no limit.");
  add_parsed(command, "--multifd-channels", p.multifd_channels, parse_channels, "N",
             fmt::format("{}", p.multifd_channels),
             "How many connections carry pages, 1 to 64; one thread each.");
  add_parsed(command, "--compression", p.compression, parse_compression, "KIND",
             std::string(compression_name(p.compression)),
             "auto (LZ4 where it is faster than the link, measured as it goes), none or lz4.");
}

void add_time_limits(CLI::App& command, migration::MigrationParameters& p) {
  add_parsed(command, "--on-no-converge", p.on_no_converge, parse_on_no_converge, "ACTION",
             std::string(on_no_converge_name(p.on_no_converge)),
             "What to do with a guest that changes memory faster than it can be sent, once "
             "--converge-timeout has passed without progress: wait (go on until --timeout), "
             "switchover (accept the "
             "longer downtime that the progress line predicts) or cancel.");
  add_parsed(command, "--converge-timeout", p.converge_timeout, parse_duration, "DURATION",
             duration_default(p.converge_timeout),
             "How long iterations may go on without bringing the predicted downtime lower than it "
             "ever was, before --on-no-converge applies.");
  add_parsed(command, "--timeout", p.timeout, parse_duration, "DURATION",
             duration_default(p.timeout),
             "Gives the whole migration up after so long; 0 is never.");
  add_parsed(command, "--connect-timeout", p.connect_timeout, parse_duration, "DURATION",
             duration_default(p.connect_timeout), "How long the target may take to answer.");
  add_parsed(command, "--io-timeout", p.io_timeout, parse_duration, "DURATION",
             duration_default(p.io_timeout), "A target that moves no byte for so long is lost.");
}

}  // namespace

void print_unread_migrate(const std::string& problem) {
  MigrationResult result;
  result.progress.status = Status::kFailed;
  result.error = Error{Errc::kInvalidArgument, problem};
  print_json({}, result);
}

void add_migrate_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<MigrateCommand>();
  CLI::App& command = add_command(app, "migrate", "move a running guest to another host",
                                  kDescription, std::string(kFooter) + kFilesSection);
  add_instance(command, state->name);
  add_parsed(command, "URL", state->request.destination, check_endpoint, "", "",
             "Where the target waits: what its --listen said, with a host that is reachable from "
             "here. With TLS its certificate must be for that host.")
      ->required();
  add_security_options(command, state->request.tls_dir, state->request.plaintext);
  add_limits(command, state->request.parameters);
  add_time_limits(command, state->request.parameters);
  command.add_flag("--copy-storage", state->request.parameters.copy_storage,
                   "Brings the guest's local disks along: those with path=, share=on left out. "
                   "Their content is copied, over the same kind of connection, to the disks that "
                   "the target names in their place, which must be others than the source's and "
                   "are overwritten; what the guest writes meanwhile is tracked, and the last of "
                   "it goes in the switchover, within --downtime-limit. NBD disks are where both "
                   "hosts reach them and stay there. If it fails, the guest goes on here with its "
                   "own disks, and the target's are incomplete. Without this flag both hosts must "
                   "reach the same disks.");
  command.add_flag("--verify", state->request.parameters.verify,
                   "Compares a hash of all guest memory on both sides at the switchover and "
                   "reports it. Lengthens the downtime by the time that hashing takes, which the "
                   "predicted downtime contains and --downtime-limit leaves out.");
  command.add_flag("--json", state->json, "One JSON object on stdout instead of the report.");
  command.callback([&action, state] { action = [state] { return migrate(*state); }; });
}

}  // namespace godwit::tools
