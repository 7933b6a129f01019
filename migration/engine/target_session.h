// One source's visit at the target, from its preamble to the handover or the failure.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "migration/engine/receive_pool.h"
#include "migration/engine/storage_sink.h"
#include "migration/target.h"
#include "migration/wire/message_channel.h"

namespace godwit::migration {

// Threads: one, but for the atomics of Shared.
class TargetSession {
 public:
  // What the session shows to other threads.
  struct Shared {
    std::atomic<bool> cancel{false};
    std::atomic<Status> status{Status::kNone};
    std::atomic<uint64_t> received_bytes{0};
    std::atomic<uint64_t> total_bytes{0};
  };

  // `control` has had its preamble read.
  TargetSession(std::unique_ptr<Channel> control, const wire::Preamble& preamble,
                Acceptor& acceptor, vmm::MachineFactory& factory,
                const TargetParameters& parameters, Shared& shared);
  ~TargetSession();

  // Agrees on a version and makes the machine. An error here leaves the target as it was.
  Result<> introduce();
  // Receives the guest and takes it over. On success machine() is the guest, running. On error
  // nothing runs here, ever.
  Result<> receive();

  [[nodiscard]] std::string peer() { return control_.raw().peer(); }
  [[nodiscard]] const wire::SessionId& id() const { return preamble_.session; }
  // Whether LOADED was sent for the handover: then the source may have sent COMMIT.
  [[nodiscard]] bool promised() const { return promised_; }
  [[nodiscard]] std::unique_ptr<vmm::Machine> take_machine() { return std::move(machine_); }
  [[nodiscard]] std::optional<VerifyReport> verify() const { return verify_; }
  // After receive(): the source's figures, once it has heard that the guest runs here. Nothing when
  // its connection ends without that, after `limit`, or soon after `stop` is set.
  std::optional<wire::Settled> await_settled(Nanoseconds limit, const std::atomic<bool>& stop);
  // Tells the source, as far as it still listens.
  void report_failure(const Error& error);
  void drop_machine();

 private:
  Result<> find_volumes(const std::vector<vmm::VolumeDescription>& wanted);
  struct Channels;
  Result<Channels> accept_channels();
  Result<> make_receivers();
  Result<> serve();
  Result<bool> handle(const wire::Message& message);
  Result<> load(const wire::Message& message);
  Result<> receive_residue(const wire::Message& message);
  Result<> take_over();
  void shut_down_receivers() noexcept;

  wire::MessageChannel control_;
  wire::Preamble preamble_;
  Acceptor& acceptor_;
  vmm::MachineFactory& factory_;
  TargetParameters parameters_;
  Shared& shared_;
  wire::Hello hello_;
  std::unique_ptr<vmm::Machine> machine_;
  vmm::DirtyBitmap populated_;
  std::unique_ptr<ReceivePool> pool_;
  std::unique_ptr<PageReceiver> inline_receiver_;
  std::vector<vmm::StorageVolume*> volumes_;  // the machine's, those that come along
  std::unique_ptr<StorageSink> storage_;      // null without any
  bool promised_ = false;
  std::optional<VerifyReport> verify_;
};

// Reads the first bytes of a new connection, within a short time.
Result<wire::Preamble> read_preamble(Channel& channel);

}  // namespace godwit::migration
