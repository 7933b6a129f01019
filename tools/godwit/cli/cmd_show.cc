// list, info.
#include <fmt/core.h>

#include <boost/json.hpp>
#include <memory>

#include "tools/godwit/api/messages.h"
#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/instances.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/instance/instance_lock.h"
#include "tools/godwit/report/migration_json.h"
#include "tools/godwit/report/migration_report.h"
#include "tools/godwit/text/json_text.h"
#include "tools/godwit/text/table.h"
#include "tools/godwit/text/units.h"

namespace godwit::tools {
namespace json = boost::json;
namespace {

constexpr const char* kListFooter = R"(
EXIT STATUS
       0  done, also when there is nothing to list
       1  failed; stderr says why
       2  the command line is wrong
)";
constexpr const char* kInfoFooter = R"(
EXIT STATUS
       0  done
       1  the VMM does not answer; stderr says why
       2  the command line is wrong
       3  no instance of that name runs here
)";

// A VMM that is busy starting (or stopped) must not hold up the list of the others.
constexpr Nanoseconds kListPatience = std::chrono::seconds(2);

json::object unresponsive(const RunDir& dir, const std::string& name, const Error& error) {
  return {{"name", name},
          {"pid", instance_owner(dir, name).value_or(0)},
          {"state", "unresponsive"},
          {"error-desc", error.message}};
}

Result<json::array> collect() {
  GODWIT_ASSIGN(const RunDir dir, RunDir::open());
  json::array found;
  for (const std::string& name : dir.names()) {
    if (!instance_owner(dir, name)) continue;  // left by a dead VMM
    ApiClient client(name, dir.socket_path(name));
    client.set_timeout(kListPatience);
    auto info = client.get("vm.info");
    if (info)
      found.emplace_back(std::move(*info));
    else if (info.error().code != Errc::kNotFound)
      found.emplace_back(unresponsive(dir, name, info.error()));
  }
  return found;
}

std::string or_dash(const std::string& text) {
  return text.empty() ? "-" : printable(text);
}

std::string migration_status(const json::object& object) {
  const auto* migration = object.if_contains("migration");
  const auto* status = migration != nullptr && migration->is_object()
                           ? migration->get_object().if_contains("status")
                           : nullptr;
  return status != nullptr && status->is_string() ? std::string(status->get_string()) : "-";
}

std::string state_text(const json::object& object) {
  const auto* state = object.if_contains("state");
  return state != nullptr && state->is_string() ? std::string(state->get_string()) : "?";
}

int list(bool as_json) {
  const auto instances = collect();
  if (!instances) return report_error(instances.error());
  if (as_json) {
    fmt::print("{}\n", to_text(*instances));
    return kExitOk;
  }
  Table table({"NAME", "STATE", ">VCPUS", ">MEMORY", ">PID", ">UPTIME", "MIGRATION", "CONSOLE"});
  for (const json::value& instance : *instances) {
    const auto info = guest_info_from_json(instance.get_object());
    if (!info) return report_error(info.error());
    const bool guest = info->vcpus > 0;
    table.row({printable(info->name), state_text(instance.get_object()),
               guest ? fmt::format("{}", info->vcpus) : "-",
               guest ? format_size(info->memory.value) : "-", fmt::format("{}", info->pid),
               guest ? format_duration(info->uptime) : "-", migration_status(instance.get_object()),
               or_dash(info->console)});
  }
  fmt::print("{}", table.text());
  return kExitOk;
}

std::string field(std::string_view label, const std::string& value) {
  return fmt::format("{:<16}{}\n", label, value);
}

std::string describe_balloon(const BalloonInfo& balloon) {
  std::string text = fmt::format("the guest gets along with {}", format_size(balloon.actual.value));
  if (balloon.target != balloon.actual)
    text += fmt::format(" and was asked to with {}", format_size(balloon.target.value));
  if (balloon.free) text += fmt::format("; {} are free", format_size(*balloon.free));
  return text;
}

std::string describe_disk(const DiskInfo& disk) {
  return fmt::format("{}, {}{}; {} requests, {} failed", printable(disk.source),
                     format_size(disk.size.value), disk.read_only ? ", read-only" : "",
                     disk.requests, disk.failed);
}

std::string describe_network(const NetworkInfo& network) {
  return fmt::format("{}, {}; sent {} in {} frames, received {} in {}, dropped {}",
                     printable(network.interface), network.mac, format_size(network.sent_bytes),
                     network.sent_frames, format_size(network.received_bytes),
                     network.received_frames, network.dropped_frames);
}

std::string describe(const GuestInfo& info, const json::object& migration) {
  std::string text = field("name", info.name) +
                     field("state", std::string(state_name(info.state))) +
                     field("process", fmt::format("{}", info.pid));
  if (!info.listen.empty()) text += field("waits at", printable(info.listen));
  if (info.vcpus > 0) {
    text += field("vcpus", fmt::format("{}", info.vcpus));
    text += field("memory", format_size(info.memory.value));
    text +=
        field("kernel", info.kernel.empty() ? "(arrived by migration)" : printable(info.kernel));
    if (info.balloon) text += field("balloon", describe_balloon(*info.balloon));
    for (const DiskInfo& disk : info.disks)
      text += field("disk " + printable(disk.id), describe_disk(disk));
    for (const NetworkInfo& network : info.networks)
      text += field("network " + printable(network.id), describe_network(network));
    text += field("console", or_dash(info.console));
    text += field("dirty tracking", or_dash(info.dirty_tracking));
    text += field("uptime here", format_duration(info.uptime));
  }
  const auto progress = progress_from_json(migration);
  if (!progress) return text + field("migration", "?");
  if (!migration::is_final(progress->status))
    return text + field("migration", format_progress(*progress, 200));
  const auto result = result_from_json(migration);
  return text +
         field("migration", std::string(migration::status_name(progress->status)) +
                                (result && result->error ? ": " + printable(result->error->message)
                                                         : std::string()));
}

int show_info(const std::string& name, bool as_json) {
  const auto client = find_instance(name);
  if (!client) return report_error(client.error());
  auto info = client->get("vm.info");
  if (!info) return report_error(info.error());
  auto migration = client->get("vm.migration");
  if (!migration) return report_error(migration.error());
  if (as_json) {
    (*info)["migration"] = *migration;
    fmt::print("{}\n", to_text(*info));
    return kExitOk;
  }
  const auto parsed = guest_info_from_json(*info);
  if (!parsed) return report_error(parsed.error());
  fmt::print("{}", describe(*parsed, *migration));
  return kExitOk;
}

struct ShowCommand {
  std::string name;
  bool json = false;
};

}  // namespace

void add_list_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<ShowCommand>();
  CLI::App& command = add_command(
      app, "list", "show the instances",
      "Lists the instances in the run directory with their state: running, paused, receiving "
      "(waits "
      "for a guest, or gets one), unknown (paused after a migration of unknown outcome), migrated "
      "or shutdown (about to go), unresponsive (the VMM does not answer: still starting, or "
      "stopped).",
      std::string(kListFooter) + kFilesSection);
  command.add_flag("--json", state->json, "One JSON array of what `godwit info --json` shows.");
  command.callback([&action, state] { action = [state] { return list(state->json); }; });
}

void add_info_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<ShowCommand>();
  CLI::App& command =
      add_command(app, "info", "show one instance",
                  "Shows what an instance is, how it does, where its console is, and how its "
                  "migration stands or ended.",
                  std::string(kInfoFooter) + kFilesSection);
  add_instance(command, state->name);
  command.add_flag("--json", state->json,
                   "One JSON object instead; sizes in bytes, times in milliseconds.");
  command.callback(
      [&action, state] { action = [state] { return show_info(state->name, state->json); }; });
}

}  // namespace godwit::tools
