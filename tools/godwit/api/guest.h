// What the API may ask of the guest behind it. The VMM process implements it; tests use a fake.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "migration/parameters.h"
#include "migration/report.h"
#include "vmm/base/error.h"
#include "vmm/base/types.h"

namespace godwit::tools {

enum class GuestState {
  kReceiving,  // no guest yet: it waits for a migration or receives one
  kRunning,
  kPaused,
  kMigrated,        // it runs at the target of a migration; this process is about to end
  kUnknownOutcome,  // paused: it may run at the target, see migration/PROTOCOL.md
  kShutDown,        // it is over; this process is about to end
};
// "receiving", "running", "paused", "migrated", "unknown", "shutdown".
std::string_view state_name(GuestState state);

// What a guest with a balloon has of its memory.
struct BalloonInfo {
  ByteCount target;              // that it was asked to get along with
  ByteCount actual;              // that it gets along with now
  std::optional<uint64_t> free;  // bytes, as the guest said last
  std::optional<uint64_t> available;
};

struct DiskInfo {
  std::string id;
  std::string source;  // path or NBD URI
  ByteCount size;
  bool read_only = false;
  uint64_t requests = 0;  // of the guest, answered here
  uint64_t failed = 0;    // of these, with an error
};

// Counters are of this host, since the guest is here.
struct NetworkInfo {
  std::string id;
  std::string interface;  // of the host
  std::string mac;        // that the guest uses
  uint64_t sent_frames = 0;
  uint64_t sent_bytes = 0;
  uint64_t received_frames = 0;
  uint64_t received_bytes = 0;
  uint64_t dropped_frames = 0;  // in either direction, for any reason
};

struct GuestInfo {
  std::string name;
  pid_t pid = 0;
  GuestState state = GuestState::kRunning;
  uint32_t vcpus = 0;   // 0 while receiving: not known yet
  ByteCount memory;     // 0 while receiving: not known yet
  std::string kernel;   // empty for a guest that arrived by migration
  std::string console;  // "stdio", "pty /dev/pts/3", ...
  std::string dirty_tracking;
  std::string listen;    // where it waits for a guest; empty otherwise
  Nanoseconds uptime{};  // since the guest was started or arrived here
  std::optional<BalloonInfo> balloon;
  std::vector<DiskInfo> disks;
  std::vector<NetworkInfo> networks;
};

// What `vm.send-migration` asks for.
struct MigrationRequest {
  std::string destination;  // tcp://HOST:PORT or unix://PATH
  std::string tls_dir;      // empty with plaintext
  bool plaintext = false;
  migration::MigrationParameters parameters;
};

// The newest news of a migration. `revision` grows with each change that a watcher should hear of.
struct MigrationNews {
  uint64_t revision = 0;  // 0: there was no migration
  migration::Progress progress;
  std::optional<migration::MigrationResult> result;  // once it is over
};

// Threads: all calls come from the server's thread and must not block for longer than a pause of
// the guest takes.
class Guest {
 public:
  virtual ~Guest() = default;
  virtual GuestInfo info() = 0;
  virtual Result<> pause() = 0;
  // `fenced`: the caller vouches that the guest does not run anywhere else; needed in
  // kUnknownOutcome, no harm otherwise.
  virtual Result<> resume(bool fenced) = 0;
  // Presses the ACPI power button: the guest may power itself off, in its own time. A migration to
  // another host is cancelled first; the button is then pressed when the guest is back. Errors:
  // kPrecondition, when nobody would hear of it (no guest, paused, no driver for the button).
  virtual Result<> press_power_button() = 0;
  // Ends the guest; the process follows.
  virtual Result<> shut_down() = 0;
  // Asks the guest to get along with that much memory; it does so as it can. Errors: no balloon; a
  // size that cannot be.
  virtual Result<> resize_balloon(ByteCount memory) = 0;
  // Starts a migration and returns; its end is told by migration().
  virtual Result<> send_migration(const MigrationRequest& request) = 0;
  virtual Result<> cancel_migration() = 0;
  virtual MigrationNews migration() = 0;
  // `changed` is called, from any thread, whenever migration() has a new revision. One listener;
  // an empty function ends it.
  virtual void on_migration_change(std::function<void()> changed) = 0;
};

}  // namespace godwit::tools
