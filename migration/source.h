// The sending side of a live migration. The protocol, its states and the handover argument:
// PROTOCOL.md.
#pragma once
#include <functional>
#include <memory>

#include "migration/channel.h"
#include "migration/parameters.h"
#include "migration/report.h"
#include "vmm/machine.h"

namespace godwit::migration {

class MigrationSource {
 public:
  // Called on the thread in run() after each change of status, each iteration and about ten times
  // a second in between; must return quickly.
  using Observer = std::function<void(const Progress&)>;

  // `machine` and `connector` outlive the source.
  MigrationSource(vmm::Machine& machine, Connector& connector,
                  const MigrationParameters& parameters, Observer observer = {});
  ~MigrationSource();

  // Runs one migration to its end; blocks. Afterwards the guest is
  // - at the target, and this machine paused for good (kCompleted);
  // - running here as before, or paused here if it was paused before (kFailed, kCancelled);
  // - paused here, and nobody here knows (kUnknown).
  // Never throws for what a peer, the link or the host does.
  MigrationResult run();

  // Asks run() to give up. Any thread. Too late once COMMIT is sent.
  void cancel() noexcept;
  [[nodiscard]] Progress progress() const;  // any thread

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::migration
