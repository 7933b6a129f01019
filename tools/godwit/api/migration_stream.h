// Starts a migration at a VMM and follows it to its end over one connection.
#pragma once
#include <functional>
#include <optional>

#include "migration/report.h"
#include "tools/godwit/api/client.h"
#include "tools/godwit/api/guest.h"

namespace godwit::tools {

struct StreamHandlers {
  // Each change, and a heartbeat about once a second.
  std::function<void(const migration::Progress&)> on_progress;
  // Something for the user to read: the migration is being cancelled, and the like.
  std::function<void(const std::string&)> on_notice;
};

enum class StreamEnd {
  kFinished,  // the result is there
  kDetached,  // the user left; the migration goes on
};

struct StreamOutcome {
  StreamEnd end = StreamEnd::kFinished;
  std::optional<migration::MigrationResult> result;
  bool interrupted = false;  // the user asked to cancel
};

// Blocks. The first SIGINT or SIGTERM asks the VMM to cancel, the second one (or SIGHUP) leaves it
// alone with the migration. Errors: the VMM's refusal of the request (nothing was started), or the
// loss of the VMM under way: kUnknownOutcome, since the migration may then have ended either way.
Result<StreamOutcome> follow_migration(const ApiClient& client, const MigrationRequest& request,
                                       const StreamHandlers& handlers);

}  // namespace godwit::tools
