// From nothing to a target that is ready for pages: connections, comparison of the hosts, link
// measurement and rehearsal.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "migration/engine/source_impl.h"
#include "migration/engine/version.h"
#include "migration/page/memory_hash.h"

namespace godwit::migration {
namespace {

// The target may have to make a machine and populate its memory meanwhile.
constexpr Nanoseconds kMachineTimeout = std::chrono::minutes(2);
constexpr int kRehearsals = 3;

}  // namespace

Result<> MigrationSource::Impl::connect_control() {
  GODWIT_ASSIGN(auto channel, connector_.connect(parameters_.connect_timeout));
  GODWIT_TRY(check_limits());
  channel->set_timeout(parameters_.io_timeout);
  result_.peer = channel->peer();
  // A target that knows nothing of disks refuses then, as it should.
  const uint16_t version_min = volumes_.empty() ? wire::kProtocolVersionMin : wire::kStorageVersion;
  const auto preamble =
      wire::encode({.version_min = version_min, .role = wire::Role::kControl, .session = session_});
  GODWIT_TRY(channel->send(ConstBuffer(preamble)));
  control_ = std::make_unique<wire::MessageChannel>(std::move(channel));
  return {};
}

Result<> MigrationSource::Impl::introduce() {
  const bool authenticated = control_->raw().authenticated();
  const wire::Hello hello{.channels = static_cast<uint16_t>(parameters_.multifd_channels),
                          .payload_checksums = !authenticated,
                          .verify = parameters_.verify,
                          .run_on_commit = was_running_,
                          .software = software_name()};
  result_.protocol = authenticated ? "tls" : "plaintext";
  GODWIT_TRY(control_->send(wire::MessageType::kHello, hello));
  const auto answer = control_->expect(wire::MessageType::kHelloAck);
  if (!answer && answer.error().code == Errc::kIo && !authenticated) {
    return make_error(Errc::kIo,
                      "{}: it may expect TLS (--tls-dir instead of --plaintext), or have refused "
                      "this side; its log says more",
                      answer.error().message);
  }
  if (!answer && answer.error().code == Errc::kIncompatible && !volumes_.empty()) {
    return make_error(Errc::kIncompatible,
                      "{} (--copy-storage needs protocol version {}: update godwit at the target)",
                      answer.error().message, wire::kStorageVersion);
  }
  if (!answer) return answer.error();
  GODWIT_ASSIGN(const auto ack, wire::decode_hello_ack(answer->payload));
  if (ack.version < wire::kProtocolVersionMin || ack.version > wire::kProtocolVersion) {
    return make_error(Errc::kProtocol,
                      "the target chose protocol version {}, which was not offered", ack.version);
  }
  spdlog::debug("migration: target runs {}, protocol {}", ack.software, ack.version);
  vmm::MachineDescription description = machine_.describe();
  for (const vmm::StorageVolume* volume : volumes_)
    description.volumes.push_back(volume->description());
  GODWIT_TRY(control_->send_machine(description));
  // Populating memory ahead takes its time; the target says so by answering late, not by silence.
  const TimePoint deadline = now() + kMachineTimeout;
  for (;;) {
    GODWIT_TRY(check_limits());
    GODWIT_ASSIGN(const bool readable,
                  control_->raw().wait_readable(std::chrono::milliseconds(100)));
    if (readable) break;
    publish();
    if (now() > deadline) {
      return make_error(Errc::kTimeout, "the target did not make its machine within {:.0f} s",
                        to_seconds(kMachineTimeout));
    }
  }
  GODWIT_TRY(control_->expect(wire::MessageType::kAccepted));
  heard_from_target_ = now();
  return {};
}

Result<std::unique_ptr<Channel>> MigrationSource::Impl::connect_channel(wire::Role role,
                                                                        uint16_t index) {
  GODWIT_TRY(check_limits());
  GODWIT_ASSIGN(auto channel, connector_.connect(parameters_.connect_timeout));
  channel->set_timeout(parameters_.io_timeout);
  const auto preamble = wire::encode({.role = role, .channel = index, .session = session_});
  GODWIT_TRY(channel->send(ConstBuffer(preamble)));
  GODWIT_TRY(channel->flush());
  return channel;
}

Result<> MigrationSource::Impl::connect_data_channels() {
  std::vector<std::unique_ptr<Channel>> channels;
  for (uint32_t i = 0; i < parameters_.multifd_channels; ++i) {
    GODWIT_ASSIGN(auto channel, connect_channel(wire::Role::kData, static_cast<uint16_t>(i)));
    channels.push_back(std::move(channel));
  }
  std::unique_ptr<Channel> storage;
  if (!volumes_.empty()) {
    GODWIT_ASSIGN(storage, connect_channel(wire::Role::kStorage, 0));
  }
  GODWIT_TRY(control_->expect(wire::MessageType::kReady));
  limiter_ = std::make_unique<RateLimiter>(parameters_.max_bandwidth_bytes_per_second);
  PageSender::Options options{.payload_checksums = !control_->raw().authenticated(),
                              .compression = parameters_.compression,
                              .limiter = limiter_.get()};
  pool_ = std::make_unique<SendPool>(machine_.memory(), std::move(channels), options);
  if (storage) {
    const StorageSender::Options same{options.payload_checksums, options.compression,
                                      options.limiter};
    storage_ = std::make_unique<StorageMirror>(volumes_, std::move(storage), same);
  }
  // A small residue goes over the control connection; compressing it costs more than it saves.
  options.compression = Compression::kNone;
  inline_sender_ = std::make_unique<PageSender>(machine_.memory(), options);
  return {};
}

Result<> MigrationSource::Impl::measure_link(uint32_t pings) {
  for (uint32_t i = 0; i < pings; ++i) {
    GODWIT_TRY(control_->send(wire::MessageType::kPing, wire::Ping{clock_.ping_sent(now())}));
    while (clock_.waiting()) {
      GODWIT_TRY(check_limits());
      GODWIT_ASSIGN(const bool readable, control_->raw().wait_readable(parameters_.io_timeout));
      if (!readable) return Error{Errc::kTimeout, "the target does not answer a ping"};
      GODWIT_TRY(handle_control_message());
    }
  }
  last_ping_ = now();
  return {};
}

void MigrationSource::Impl::start_tracking() {
  machine_.dirty_tracker().start();
  tracking_ = true;
  harvested_at_ = now();
  ask_for_free_pages();
  // Everything that the guest ever touched goes out once. A page touched from now on is tracked.
  uint64_t touched = 0;
  for (const vmm::PageRange& range : machine_.memory().touched()) {
    sending_.set_range(range.first, range.count);
    touched += range.count;
  }
  if (parameters_.verify) hash_time_ = estimate_memory_hash(machine_.memory());
  const std::lock_guard lock(mutex_);
  progress_.untouched_pages = machine_.memory().page_count() - touched;
  progress_.remaining_bytes = touched * kPageSize;
}

// The guest answers while other things go on: nothing waits for it. Asked here, it has most often
// answered before the first page is looked at.
void MigrationSource::Impl::ask_for_free_pages() {
  vmm::FreePageHints* const hints = machine_.free_page_hints();
  if (hints == nullptr || !was_running_) return;
  free_pages_ = std::make_unique<FreePages>(machine_.memory().page_count());
  if (hints->begin(*free_pages_)) {
    hints_ = hints;
  } else {
    free_pages_.reset();
  }
}

// However the migration goes: the guest has its pages back from here on.
void MigrationSource::Impl::end_free_pages() noexcept {
  if (hints_ != nullptr) hints_->end();
  hints_ = nullptr;
}

// Everything of a switchover but the handing over: pauses for as long as saving takes, and lets the
// target load the state. It measures the fixed terms of the budget, warms both sides up, and finds
// state that the target cannot load while nothing has been lost yet. It comes before the first page
// because loading may write guest memory at the target.
// What else runs on the hosts can only make a term look longer than it is, so where the sum is a
// felt part of the limit it is measured again and the shortest of each term counts.
Result<> MigrationSource::Impl::rehearse() {
  for (int attempt = 1; attempt <= kRehearsals; ++attempt) {
    const BudgetTerms best = terms_;
    GODWIT_TRY(rehearse_once());
    if (attempt > 1) {
      terms_.stop = std::min(terms_.stop, best.stop);
      terms_.save = std::min(terms_.save, best.save);
      terms_.send_state = std::min(terms_.send_state, best.send_state);
      terms_.load = std::min(terms_.load, best.load);
    }
    if (terms_.fixed() * 4 < parameters_.downtime_limit) break;
  }
  spdlog::debug(
      "migration: rehearsal: stop {:.3f} ms, save {:.3f}, send {:.3f}, load {:.3f}, {} bytes",
      to_ms(terms_.stop), to_ms(terms_.save), to_ms(terms_.send_state), to_ms(terms_.load),
      state_.size());
  return {};
}

Result<> MigrationSource::Impl::rehearse_once() {
  state_.clear();
  const vmm::PauseTimes pause = machine_.pause();
  machine_.save(state_);
  const TimePoint saved = now();
  if (was_running_) machine_.resume();
  result_.rehearsal_stall = std::max<Nanoseconds>(result_.rehearsal_stall, now() - pause.requested);
  terms_.stop = pause.quiesced - pause.requested;
  terms_.save = saved - pause.quiesced;
  const TimePoint sent = now();
  GODWIT_TRY(control_->send_state(state_head(true, 0), state_.view()));
  GODWIT_ASSIGN(const auto message, control_->expect(wire::MessageType::kLoaded));
  const TimePoint answered = now();
  GODWIT_ASSIGN(const auto loaded, wire::decode_loaded(message.payload));
  if (!loaded.rehearsal) return Error{Errc::kProtocol, "LOADED for a rehearsal that was none"};
  heard_from_target_ = answered;
  const Nanoseconds whole = answered - sent;
  // The target's readings may be anything: no arithmetic that overflows.
  const auto load = static_cast<int64_t>(static_cast<uint64_t>(loaded.loaded_ns) -
                                         static_cast<uint64_t>(loaded.received_ns));
  terms_.load = std::clamp<Nanoseconds>(Nanoseconds(load), Nanoseconds(0), whole);
  terms_.send_state = whole - terms_.load;
  return {};
}

}  // namespace godwit::migration
