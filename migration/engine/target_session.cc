#include "migration/engine/target_session.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "migration/engine/clock_sync.h"
#include "migration/engine/version.h"
#include "migration/page/memory_hash.h"

namespace godwit::migration {
namespace {

constexpr Nanoseconds kPreambleTimeout = std::chrono::seconds(5);
constexpr Nanoseconds kTick = std::chrono::milliseconds(100);
constexpr Nanoseconds kFirstEntryTimeout = std::chrono::seconds(5);

}  // namespace

Result<wire::Preamble> read_preamble(Channel& channel) {
  channel.set_timeout(kPreambleTimeout);
  std::array<std::byte, wire::kPreambleBytes> bytes;
  GODWIT_TRY(channel.receive(MutableBuffer(bytes)));
  return wire::decode_preamble(bytes);
}

TargetSession::TargetSession(std::unique_ptr<Channel> control, const wire::Preamble& preamble,
                             Acceptor& acceptor, vmm::MachineFactory& factory,
                             const TargetParameters& parameters, Shared& shared)
    : control_(std::move(control)),
      preamble_(preamble),
      acceptor_(acceptor),
      factory_(factory),
      parameters_(parameters),
      shared_(shared) {}

// What the connections of a migration bring, beside the control connection.
struct TargetSession::Channels {
  std::vector<std::unique_ptr<Channel>> data;
  std::unique_ptr<Channel> storage;
};

TargetSession::~TargetSession() {
  shut_down_receivers();
}

void TargetSession::shut_down_receivers() noexcept {
  if (pool_) pool_->shutdown();
  if (storage_) storage_->shutdown();
}

Result<> TargetSession::introduce() {
  control_.raw().set_timeout(parameters_.io_timeout);
  if (preamble_.version_max < wire::kProtocolVersionMin ||
      preamble_.version_min > wire::kProtocolVersion) {
    return make_error(Errc::kIncompatible,
                      "the source speaks protocol versions {} to {}, this target {} to {}",
                      preamble_.version_min, preamble_.version_max, wire::kProtocolVersionMin,
                      wire::kProtocolVersion);
  }
  GODWIT_ASSIGN(const auto hello, control_.expect(wire::MessageType::kHello));
  GODWIT_ASSIGN(hello_, wire::decode_hello(hello.payload));
  if (!hello_.payload_checksums && !control_.raw().authenticated()) {
    return Error{Errc::kProtocol, "the source wants no checksums on a connection that needs them"};
  }
  const wire::HelloAck ack{
      .version = std::min(preamble_.version_max, wire::kProtocolVersion),
      .software = software_name(),
  };
  GODWIT_TRY(control_.send(wire::MessageType::kHelloAck, ack));
  GODWIT_ASSIGN(const auto message, control_.expect(wire::MessageType::kMachine));
  ByteReader in(message.payload, "MACHINE");
  GODWIT_ASSIGN(const auto description, vmm::decode_machine_description(in));
  GODWIT_TRY(in.finish());
  shared_.status = Status::kSetup;
  GODWIT_ASSIGN(machine_, factory_.create(description));
  GODWIT_TRY(find_volumes(description.volumes));
  shared_.total_bytes = machine_->memory().size().value;
  spdlog::info("migration: {} sends a guest with {} vCPUs and {} MiB from {}", hello_.software,
               description.vcpus, description.memory_size.value >> 20, control_.raw().peer());
  return {};
}

Result<> TargetSession::receive() {
  GODWIT_TRY(control_.send(wire::MessageType::kAccepted));
  GODWIT_TRY(make_receivers());
  GODWIT_TRY(control_.send(wire::MessageType::kReady));
  shared_.status = Status::kActive;
  GODWIT_TRY(serve());
  return {};
}

// The source names the disks that it copies; the factory has made a machine that has them.
Result<> TargetSession::find_volumes(const std::vector<vmm::VolumeDescription>& wanted) {
  const auto here = machine_->volumes();
  for (const vmm::VolumeDescription& volume : wanted) {
    const auto own = std::ranges::find_if(
        here, [&](const vmm::StorageVolume* v) { return v->description().name == volume.name; });
    if (own == here.end()) {
      return make_error(Errc::kIncompatible, "the target has no disk {} of its own to copy to",
                        volume.name);
    }
    const uint64_t size = (*own)->description().size_bytes;
    if (size != volume.size_bytes) {
      return make_error(Errc::kIncompatible,
                        "disk {} has {} bytes at the source and {} at the target", volume.name,
                        volume.size_bytes, size);
    }
    if (std::ranges::find(volumes_, *own) != volumes_.end())
      return make_error(Errc::kProtocol, "the source names disk {} twice", volume.name);
    volumes_.push_back(*own);
  }
  return {};
}

Result<TargetSession::Channels> TargetSession::accept_channels() {
  Channels channels{.data = std::vector<std::unique_ptr<Channel>>(hello_.channels)};
  const TimePoint deadline = now() + parameters_.io_timeout;
  const uint32_t all = hello_.channels + (volumes_.empty() ? 0 : 1);
  for (uint32_t missing = all; missing != 0;) {
    const Nanoseconds left = deadline - now();
    if (left.count() <= 0) {
      return make_error(Errc::kTimeout, "{} of {} connections for content did not come", missing,
                        all);
    }
    GODWIT_ASSIGN(auto channel, acceptor_.accept(left));
    const auto preamble = read_preamble(*channel);
    std::unique_ptr<Channel>* place = nullptr;
    if (preamble && preamble->session == preamble_.session) {
      if (preamble->role == wire::Role::kData && preamble->channel < hello_.channels)
        place = &channels.data[preamble->channel];
      if (preamble->role == wire::Role::kStorage && !volumes_.empty()) place = &channels.storage;
    }
    // Whoever does not know the session is none of ours.
    if (place == nullptr || *place) {
      spdlog::warn("migration: dropped a connection from {} that does not belong to this migration",
                   channel->peer());
      continue;
    }
    channel->set_timeout(parameters_.io_timeout);
    *place = std::move(channel);
    --missing;
  }
  return channels;
}

Result<> TargetSession::make_receivers() {
  GODWIT_ASSIGN(auto channels, accept_channels());
  populated_ = vmm::DirtyBitmap(machine_->memory().page_count());
  inline_receiver_ =
      std::make_unique<PageReceiver>(machine_->memory(), populated_, hello_.payload_checksums);
  pool_ = std::make_unique<ReceivePool>(machine_->memory(), populated_, hello_.payload_checksums,
                                        std::move(channels.data));
  if (channels.storage) {
    storage_ = std::make_unique<StorageSink>(volumes_, hello_.payload_checksums,
                                             std::move(channels.storage));
  }
  return {};
}

Result<> TargetSession::serve() {
  TimePoint heard = now();
  for (;;) {
    GODWIT_ASSIGN(const bool readable, control_.raw().wait_readable(kTick));
    if (readable) {
      GODWIT_ASSIGN(const wire::Message message, control_.receive());
      heard = now();
      GODWIT_ASSIGN(const bool done, handle(message));
      if (done) return {};
      continue;
    }
    if (shared_.cancel.load()) return Error{Errc::kCancelled, "cancelled at the target"};
    if (const auto error = pool_->error()) return *error;
    if (storage_) {
      if (const auto error = storage_->error()) return *error;
    }
    shared_.received_bytes = pool_->bytes_received() + (storage_ ? storage_->bytes_written() : 0);
    if (now() - heard > parameters_.io_timeout) {
      return make_error(Errc::kTimeout, "the source has been silent for {:.1f} s",
                        to_seconds(now() - heard));
    }
  }
}

// Returns whether the guest has been taken over.
Result<bool> TargetSession::handle(const wire::Message& message) {
  switch (message.type) {
    case wire::MessageType::kPing: {
      const int64_t at = to_wire(now());
      GODWIT_ASSIGN(const wire::Ping ping, wire::decode_ping(message.payload));
      GODWIT_TRY(control_.send(wire::MessageType::kPong, wire::Pong{ping.sequence, at}));
      return false;
    }
    case wire::MessageType::kResidue:
      GODWIT_TRY(receive_residue(message));
      return false;
    case wire::MessageType::kState:
      GODWIT_TRY(load(message));
      return false;
    case wire::MessageType::kCommit:
      if (!promised_) return Error{Errc::kProtocol, "COMMIT came before the guest was complete"};
      GODWIT_TRY(take_over());
      return true;
    case wire::MessageType::kAbort:
      return wire::error_of_peer(message);
    default:
      return make_error(Errc::kProtocol, "{} came from the source at the wrong time",
                        wire::message_name(message.type));
  }
}

Result<> TargetSession::receive_residue(const wire::Message& message) {
  GODWIT_ASSIGN(const wire::Residue residue, wire::decode_residue(message.payload));
  // Everything sent earlier over the data channels is in place: the residue overwrites it.
  GODWIT_TRY(pool_->wait_for(residue.iteration - 1, parameters_.io_timeout));
  return inline_receiver_->receive_iteration(control_.raw(), residue.iteration);
}

Result<> TargetSession::load(const wire::Message& message) {
  if (promised_) return Error{Errc::kProtocol, "STATE came twice"};
  GODWIT_ASSIGN(const wire::State state, wire::decode_state(message.payload));
  if (!state.head.rehearsal) {
    shared_.status.store(Status::kDevice, std::memory_order_relaxed);
    GODWIT_TRY(pool_->wait_for(state.head.iteration, parameters_.io_timeout));
    if (storage_) GODWIT_TRY(storage_->wait_complete(parameters_.io_timeout));
  }
  wire::Loaded loaded{.rehearsal = state.head.rehearsal, .received_ns = to_wire(now())};
  // Loading may write guest memory (KVM's wall clock): the hash comes first.
  if (!state.head.rehearsal && hello_.verify) {
    loaded.memory_hash = memory_hash(machine_->memory());
    verify_ = VerifyReport{.target_hash = *loaded.memory_hash};
  }
  GODWIT_TRY(machine_->load(state.sections, Nanoseconds(state.head.clock_offset_ns)));
  loaded.loaded_ns = to_wire(now());
  if (state.head.rehearsal) {
    // Prealloc and the loading itself may have touched pages already.
    for (const vmm::PageRange& range : machine_->memory().touched()) {
      populated_.set_range(range.first, range.count);
    }
  } else {
    promised_ = true;
  }
  return control_.send(wire::MessageType::kLoaded, loaded);
}

Result<> TargetSession::take_over() {
  wire::Resumed resumed{.commit_ns = to_wire(now())};
  resumed.first_entry_ns = resumed.commit_ns;
  if (hello_.run_on_commit) {
    machine_->resume();
    if (const auto entry = machine_->wait_first_entry(kFirstEntryTimeout)) {
      resumed.first_entry_ns = to_wire(*entry);
    }
  }
  for (vmm::StorageVolume* volume : volumes_) volume->keep();
  if (verify_) {
    // COMMIT came: the source found both hashes equal.
    verify_->source_hash = verify_->target_hash;
    verify_->equal = true;
  }
  // From here on the guest is this host's, whether the source hears of it or not.
  if (const auto told = control_.send(wire::MessageType::kResumed, resumed); !told) {
    spdlog::warn("migration: the guest runs here, but the source could not be told: {}",
                 told.error().message);
  }
  shared_.received_bytes = pool_->bytes_received() + control_.raw().stats().bytes_received +
                           (storage_ ? storage_->bytes_written() : 0);
  shut_down_receivers();
  return {};
}

std::optional<wire::Settled> TargetSession::await_settled(Nanoseconds limit,
                                                          const std::atomic<bool>& stop) {
  const TimePoint deadline = now() + limit;
  for (TimePoint at = now(); at < deadline && !stop; at = now()) {
    const auto readable = control_.raw().wait_readable(std::min<Nanoseconds>(kTick, deadline - at));
    if (!readable) return std::nullopt;
    if (!*readable) continue;
    const auto message = control_.expect(wire::MessageType::kSettled);
    if (!message) return std::nullopt;
    const auto settled = wire::decode_settled(message->payload);
    if (!settled) return std::nullopt;
    return *settled;
  }
  return std::nullopt;
}

void TargetSession::report_failure(const Error& error) {
  shut_down_receivers();
  (void)control_.send(wire::MessageType::kFailed, wire::Text{error.code, error.message});
}

void TargetSession::drop_machine() {
  shut_down_receivers();
  pool_.reset();
  storage_.reset();
  volumes_.clear();
  inline_receiver_.reset();
  machine_.reset();
}

}  // namespace godwit::migration
