// The migration engine as the VMM process uses it; tests put fakes here.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "migration/report.h"
#include "migration/source.h"
#include "migration/target.h"
#include "tools/godwit/api/guest.h"
#include "vmm/machine.h"

namespace godwit::tools {

// As migration::MigrationSource.
class Sender {
 public:
  virtual ~Sender() = default;
  virtual migration::MigrationResult run() = 0;
  virtual void cancel() noexcept = 0;
};
using Observer = std::function<void(const migration::Progress&)>;
using SenderFactory = std::function<Result<std::unique_ptr<Sender>>(
    vmm::Machine& machine, const MigrationRequest& request, Observer observer)>;

// As migration::MigrationTarget.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual migration::TargetResult run() = 0;
  virtual void on_settled(migration::MigrationTarget::OnSettled settled) = 0;
  virtual void cancel() noexcept = 0;
};

// Where `godwit receive` listens and whom it lets in.
struct ListenRequest {
  std::string endpoint;                // tcp://HOST:PORT or unix://PATH
  std::string tls_dir;                 // empty with plaintext
  std::vector<std::string> tls_authz;  // patterns for the source's distinguished name; empty: any
  bool plaintext = false;
  migration::TargetParameters parameters;
};

// The real ones. Errors come before anything is sent or received: a bad URL, unusable TLS files, a
// port that is taken.
Result<std::unique_ptr<Sender>> make_sender(vmm::Machine& machine, const MigrationRequest& request,
                                            Observer observer);
// `factory` outlives the receiver. `bound` gets the address in use (a port 0 has become a real
// one).
Result<std::unique_ptr<Receiver>> make_receiver(const ListenRequest& request,
                                                vmm::MachineFactory& factory, Observer observer,
                                                std::string& bound);

}  // namespace godwit::tools
