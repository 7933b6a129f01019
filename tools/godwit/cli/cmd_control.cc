// pause, resume, cancel.
#include <fmt/core.h>

#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <thread>

#include "tools/godwit/api/messages.h"
#include "tools/godwit/cli/commands.h"
#include "tools/godwit/cli/exit_status.h"
#include "tools/godwit/cli/instances.h"
#include "tools/godwit/cli/options.h"
#include "tools/godwit/report/migration_json.h"

namespace godwit::tools {
namespace {

constexpr const char* kControlFooter = R"(
EXIT STATUS
       0  done
       1  not possible now; stderr says why
       2  the command line is wrong
       3  no instance of that name runs here
)";

struct ResumeCommand {
  std::string name;
  bool fenced = false;
};

int resume(const ResumeCommand& command) {
  if (!command.fenced) return put_to_instance(command.name, "vm.resume");
  const auto client = find_instance(command.name);
  if (!client) return report_error(client.error());
  const auto answer = client->put("vm.resume", {{"fenced", true}});
  return answer ? static_cast<int>(kExitOk) : report_error(answer.error());
}

// The VMM went before it could be asked. One that only waited for a guest has nothing more to do;
// one that had a guest may have finished sending it.
int vmm_went(const ApiClient& client, bool receiving) {
  if (receiving) return kExitOk;
  fmt::print(stderr, "godwit: too late to cancel: the VMM of '{}' has ended; ask the target\n",
             client.name());
  return kExitFailed;
}

std::optional<int> status_after_cancel(const ApiClient& client, migration::Status status) {
  switch (status) {
    case migration::Status::kCompleted:
      fmt::print(stderr, "godwit: too late to cancel: the guest has been handed over\n");
      return kExitFailed;
    case migration::Status::kUnknown:
      fmt::print(stderr,
                 "godwit: too late to cancel, and the outcome is unknown: see `godwit info {}`\n",
                 client.name());
      return kExitUnknownOutcome;
    case migration::Status::kCancelled:
    case migration::Status::kFailed:
      return kExitOk;
    default:
      return std::nullopt;  // still under way
  }
}

// The request was taken; what became of it shows a moment later.
int await_cancelled(const ApiClient& client, bool receiving) {
  constexpr int kAttempts = 200;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto news = client.get("vm.migration");
    if (!news && !find_instance(client.name())) return vmm_went(client, receiving);
    if (news) {
      const auto progress = progress_from_json(*news);
      if (!progress) return report_error(progress.error());
      if (const auto status = status_after_cancel(client, progress->status)) return *status;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  fmt::print(stderr, "godwit: the migration of '{0}' has not ended yet; see `godwit info {0}`\n",
             client.name());
  return kExitFailed;
}

int cancel(const std::string& name) {
  const auto client = find_instance(name);
  if (!client) return report_error(client.error());
  const auto object = client->get("vm.info");
  const auto info = object ? guest_info_from_json(*object) : object.error();
  if (!info) return report_error(info.error());
  const auto answer = client->put("vm.cancel-migration");
  if (!answer) return report_error(answer.error());
  return await_cancelled(*client, info->state == GuestState::kReceiving);
}

}  // namespace

void add_pause_command(CLI::App& app, Action& action) {
  auto name = std::make_shared<std::string>();
  CLI::App& command = add_command(
      app, "pause", "stop a guest's vCPUs",
      "Stops all vCPUs and devices of a guest until `godwit resume`. A paused guest can "
      "be migrated and arrives paused. Pausing a paused guest does nothing.",
      std::string(kControlFooter) + kFilesSection);
  add_instance(command, *name);
  command.callback(
      [&action, name] { action = [name] { return put_to_instance(*name, "vm.pause"); }; });
}

void add_resume_command(CLI::App& app, Action& action) {
  auto state = std::make_shared<ResumeCommand>();
  CLI::App& command = add_command(
      app, "resume", "let a paused guest go on",
      "Lets a paused guest go on; a running one is left alone. After a migration whose outcome is "
      "unknown (exit status 6 of `godwit migrate`) the guest is paused here and may run at the "
      "target: then --fenced is needed.",
      R"(
EXAMPLES
       After the connection broke at the very moment of the handover, with the target
       host known to be powered off:
           godwit resume web --fenced
)" + std::string(kControlFooter) +
          kFilesSection);
  add_instance(command, state->name);
  command.add_flag(
      "--fenced", state->fenced,
      "Vouches that the guest runs nowhere else: it was looked for at the target, or "
      "the target is cut off for good. Two running copies corrupt whatever they share.");
  command.callback([&action, state] { action = [state] { return resume(*state); }; });
}

void add_cancel_command(CLI::App& app, Action& action) {
  auto name = std::make_shared<std::string>();
  CLI::App& command = add_command(
      app, "cancel", "give up a migration",
      "Gives up the migration that the instance is in. At the source the guest runs on as if "
      "nothing had been; an instance that waits for a guest (`godwit receive`) ends. Returns when "
      "that is so. Once the handover has been committed it is too late.",
      R"(
EXIT STATUS
       0  cancelled
       1  nothing to cancel, or too late; stderr says which
       2  the command line is wrong
       3  no instance of that name runs here
       6  too late, and the migration's outcome is unknown
)" + std::string(kFilesSection));
  add_instance(command, *name);
  command.callback([&action, name] { action = [name] { return cancel(*name); }; });
}

}  // namespace godwit::tools
