// The receiving side of a live migration. See PROTOCOL.md.
#pragma once
#include <functional>
#include <memory>

#include "migration/channel.h"
#include "migration/report.h"
#include "vmm/machine.h"

namespace godwit::migration {

struct TargetParameters {
  Nanoseconds io_timeout = std::chrono::seconds(10);
  // How long to wait for a source to appear; 0: for ever.
  Nanoseconds accept_timeout{0};
  // How long a target that promised to take over, but did not, stays to say so.
  Nanoseconds answer_timeout = std::chrono::seconds(5);
};

struct TargetResult {
  // The guest's machine, running here (unless it was paused at the source); null on failure.
  std::unique_ptr<vmm::Machine> machine;
  std::optional<Error> error;
  Nanoseconds total_time{};
  uint64_t received_bytes = 0;
  std::optional<VerifyReport> verify;
};

class MigrationTarget {
 public:
  using Observer = std::function<void(const Progress&)>;
  using OnSettled = std::function<void(const std::optional<MigrationResult>&)>;

  // All outlive the target.
  MigrationTarget(Acceptor& acceptor, vmm::MachineFactory& factory,
                  const TargetParameters& parameters, Observer observer = {});
  ~MigrationTarget();

  // Waits for one source and receives its guest; blocks. A connection that is no source (wrong
  // protocol, bad hello) is dropped and the wait goes on. On failure everything received is gone
  // and the guest stays at the source.
  TargetResult run();

  // To be set before run(). Called once after run() has returned a machine, on a thread of the
  // target's own: with the source's figures when it has confirmed that it knows of the guest's
  // arrival, with nothing when it has not within 30 s. Until then the target answers, beside its
  // work, a source that asks what became of the guest; afterwards it may be destroyed (not in the
  // call itself).
  void on_settled(OnSettled settled);

  // Gives up, unless COMMIT has arrived. Any thread.
  void cancel() noexcept;
  [[nodiscard]] Progress progress() const;  // any thread

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::migration
