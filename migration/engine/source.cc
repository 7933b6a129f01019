// The course of a migration as the source sees it, and how it ends.
#include "migration/source.h"

#include <openssl/rand.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <system_error>

#include "migration/engine/source_impl.h"
#include "migration/engine/thread_util.h"
#include "vmm/base/check.h"

namespace godwit::migration {
namespace {

constexpr Nanoseconds kPublishEvery = std::chrono::milliseconds(100);
constexpr Nanoseconds kPingEvery = std::chrono::milliseconds(100);
// How long the reason of a target that closed its connections may take to arrive.
constexpr Nanoseconds kLastWords = std::chrono::milliseconds(200);

}  // namespace

MigrationSource::MigrationSource(vmm::Machine& machine, Connector& connector,
                                 const MigrationParameters& parameters, Observer observer)
    : impl_(std::make_unique<Impl>(machine, connector, parameters, std::move(observer))) {}
MigrationSource::~MigrationSource() = default;
MigrationResult MigrationSource::run() {
  return impl_->run();
}
void MigrationSource::cancel() noexcept {
  impl_->cancel();
}
Progress MigrationSource::progress() const {
  return impl_->progress();
}

MigrationSource::Impl::Impl(vmm::Machine& machine, Connector& connector,
                            const MigrationParameters& parameters, Observer observer)
    : machine_(machine),
      connector_(connector),
      parameters_(parameters),
      observer_(std::move(observer)),
      convergence_(parameters),
      sending_(machine.memory().page_count()),
      found_(machine.memory().page_count()) {
  GODWIT_CHECK(parameters.multifd_channels >= 1 && parameters.multifd_channels <= kMaxChannels,
               "the number of channels is checked where it is parsed");
  GODWIT_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(session_.data()),
                          static_cast<int>(session_.size())) == 1,
               "no randomness");
  state_.reserve(256u << 10);
}

MigrationResult MigrationSource::Impl::run() {
  started_ = now();
  heard_from_target_ = last_ping_ = started_;
  coordinator_cpu_start_ = thread_cpu_time();
  was_running_ = machine_.running();
  set_status(Status::kSetup);
  Result<> outcome;
  try {
    outcome = migrate();
  } catch (const std::system_error& e) {
    // A host call failed (KVM, memory). Nothing of it may end the guest.
    outcome = make_error(Errc::kIo, "a host call failed during the migration: {}", e.what());
  }
  if (outcome) {
    finish(Status::kCompleted, std::nullopt);
  } else if (handover_ == Handover::kCommitSent) {
    resolve_unknown(outcome.error());
  } else {
    give_up(outcome.error());
  }
  return result_;
}

Result<> MigrationSource::Impl::migrate() {
  GODWIT_TRY(choose_volumes());
  GODWIT_TRY(connect_control());
  GODWIT_TRY(introduce());
  GODWIT_TRY(connect_data_channels());
  connecting_ = false;
  GODWIT_TRY(measure_link(8));
  if (storage_) GODWIT_TRY(mirror_storage());
  start_tracking();
  GODWIT_TRY(rehearse());
  if (!storage_) become_active();
  GODWIT_TRY(iterate_until_switchover());
  return switch_over();
}

void MigrationSource::Impl::become_active() {
  {
    const std::lock_guard lock(mutex_);
    progress_.setup_time = now() - started_;
  }
  set_status(Status::kActive);
}

// Before COMMIT: the guest goes on here, first of all.
void MigrationSource::Impl::give_up(const Error& error) {
  if (handover_ == Handover::kStopped) {
    if (was_running_) machine_.resume();
    result_.stall_after_failure = now() - moments_.pause.requested;
  }
  const bool cancelled = cancel_requested_.load() && error.code == Errc::kCancelled;
  const Error reason = reason_of_target(error);
  if (control_) {
    const wire::Text why{reason.code, reason.message};
    (void)control_->send(wire::MessageType::kAbort, why);
  }
  finish(cancelled ? Status::kCancelled : Status::kFailed, reason);
}

// On a data channel a target that gave up looks like a lost connection; why it did so has come, or
// is about to come, on the control connection.
Error MigrationSource::Impl::reason_of_target(const Error& error) {
  if (error.code != Errc::kIo || !control_) return error;
  const TimePoint deadline = now() + kLastWords;
  control_->raw().set_timeout(kLastWords);
  for (TimePoint at = now(); at < deadline; at = now()) {
    const auto readable = control_->raw().wait_readable(deadline - at);
    if (!readable || !*readable) break;
    const auto message = control_->receive();
    if (!message) break;
    if (message->type == wire::MessageType::kFailed) return wire::error_of_peer(*message);
  }
  return error;
}

// COMMIT may or may not have arrived. The target is asked on a new connection; only its own word
// that it will never run lets the guest go on here.
void MigrationSource::Impl::resolve_unknown(const Error& error) {
  spdlog::warn("no answer to COMMIT ({}); asking the target what became of the guest",
               error.message);
  const TimePoint deadline = now() + parameters_.resolve_timeout;
  while (now() < deadline) {
    const auto outcome = ask_outcome();
    if (outcome && outcome->state == wire::OutcomeState::kCommitted) {
      return finish(Status::kCompleted, std::nullopt);
    }
    if (outcome && outcome->state == wire::OutcomeState::kAborted) {
      if (was_running_) machine_.resume();
      result_.stall_after_failure = now() - moments_.pause.requested;
      return finish(Status::kFailed, error);
    }
    if (!outcome && outcome.error().code == Errc::kCancelled) break;
  }
  finish(
      Status::kUnknown,
      make_error(Errc::kUnknownOutcome,
                 "COMMIT was sent to {} and no answer came: {}. The guest is paused here and may "
                 "run there. Look at the target; once it is certain that the guest does not and "
                 "will not run there (fenced), `godwit resume NAME --fenced` lets it go on here; "
                 "if it runs there, `godwit stop NAME` ends this copy",
                 result_.peer, error.message));
}

Result<wire::Outcome> MigrationSource::Impl::ask_outcome() {
  GODWIT_ASSIGN(auto channel, connector_.connect(std::chrono::seconds(1)));
  channel->set_timeout(std::chrono::seconds(1));
  const auto preamble = wire::encode({.role = wire::Role::kOutcome, .session = session_});
  GODWIT_TRY(channel->send(ConstBuffer(preamble)));
  GODWIT_TRY(channel->flush());
  wire::MessageChannel messages(std::move(channel));
  GODWIT_ASSIGN(const auto message, messages.expect(wire::MessageType::kOutcome));
  return wire::decode_outcome(message.payload);
}

void MigrationSource::Impl::finish(Status status, std::optional<Error> error) {
  end_free_pages();
  if (limiter_) limiter_->shutdown();
  if (pool_) pool_->shutdown();
  if (storage_) storage_->shutdown();
  if (tracking_) machine_.dirty_tracker().stop();
  tracking_ = false;
  result_.error = std::move(error);
  result_.total_time = now() - started_;
  result_.tracker = machine_.dirty_tracker().name();
  result_.channels = parameters_.multifd_channels;
  Nanoseconds cpu = thread_cpu_time() - coordinator_cpu_start_;
  if (pool_) {
    cpu += pool_->cpu_time();
    result_.send_calls = pool_->stats().send_calls;
  }
  if (storage_) {
    cpu += storage_->cpu_time();
    result_.send_calls += storage_->stats().send_calls;
  }
  if (control_) {
    result_.send_calls += control_->raw().stats().send_calls;
    control_->raw().shutdown();
  }
  result_.source_cpu_seconds = to_seconds(cpu);
  set_status(status);
  const std::lock_guard lock(mutex_);
  result_.progress = progress_;
}

void MigrationSource::Impl::cancel() noexcept {
  cancel_requested_.store(true);
  // Not later: the same connector asks for the outcome of a COMMIT without an answer.
  if (connecting_.load()) connector_.cancel();
}

Progress MigrationSource::Impl::progress() const {
  const std::lock_guard lock(mutex_);
  Progress copy = progress_;
  if (cancel_requested_.load() && !is_final(copy.status)) copy.status = Status::kCancelling;
  return copy;
}

// What must be looked at again and again while something else is going on: cancellation, time
// limits, the target's liveness, whoever watches.
Result<> MigrationSource::Impl::tend(bool may_ping) {
  GODWIT_TRY(check_limits());
  const TimePoint at = now();
  if (at - last_publish_ >= kPublishEvery) publish();
  for (;;) {
    GODWIT_ASSIGN(const bool readable, control_->raw().wait_readable(Nanoseconds(0)));
    if (!readable) break;
    GODWIT_TRY(handle_control_message());
  }
  if (at - heard_from_target_ > parameters_.io_timeout) {
    return make_error(Errc::kTimeout, "the target has not answered for {:.1f} s",
                      to_seconds(at - heard_from_target_));
  }
  // One at a time: a pong later than the next ping would measure nothing.
  if (may_ping && !clock_.waiting() && at - last_ping_ >= kPingEvery) {
    last_ping_ = at;
    GODWIT_TRY(control_->send(wire::MessageType::kPing, wire::Ping{clock_.ping_sent(now())}));
  }
  return {};
}

Result<> MigrationSource::Impl::handle_control_message() {
  GODWIT_ASSIGN(const wire::Message message, control_->receive());
  heard_from_target_ = now();
  if (message.type == wire::MessageType::kPong) {
    GODWIT_ASSIGN(const wire::Pong pong, wire::decode_pong(message.payload));
    clock_.pong_received(pong.sequence, pong.target_ns, heard_from_target_);
    return {};
  }
  if (message.type == wire::MessageType::kFailed) return wire::error_of_peer(message);
  return make_error(Errc::kProtocol, "{} came from the target at the wrong time",
                    wire::message_name(message.type));
}

Result<> MigrationSource::Impl::check_limits() const {
  if (cancel_requested_.load(std::memory_order_relaxed)) {
    return Error{Errc::kCancelled, "cancelled on request"};
  }
  if (parameters_.timeout.count() > 0 && now() - started_ > parameters_.timeout) {
    return make_error(
        Errc::kTimeout,
        "not finished within the time limit of {:.1f} s; predicted downtime {:.3f} ms, "
        "limit {:.3f} ms",
        to_seconds(parameters_.timeout), to_ms(convergence_.predicted()),
        to_ms(parameters_.downtime_limit));
  }
  return {};
}

void MigrationSource::Impl::set_status(Status status) {
  {
    const std::lock_guard lock(mutex_);
    progress_.status = status;
  }
  // Not while the guest stands still.
  if (status != Status::kDevice) {
    spdlog::info("migration: {}", status_name(status));
    publish();
  }
}

void MigrationSource::Impl::publish() {
  refresh_progress();
  last_publish_ = now();
  if (observer_) observer_(progress());
}

void MigrationSource::Impl::refresh_progress() {
  PageCounts counts = pool_ ? pool_->counts() : PageCounts{};
  if (inline_sender_) counts += inline_sender_->counts().read();
  const std::lock_guard lock(mutex_);
  Progress& p = progress_;
  const Nanoseconds elapsed = now() - started_;
  p.elapsed = elapsed;
  p.page_size = kPageSize;
  p.total_bytes = machine_.memory().size().value;
  p.transferred_bytes = counts.wire_bytes;
  p.normal_pages = counts.normal;
  p.duplicate_pages = counts.duplicate;
  p.free_pages = counts.free;
  p.lz4_pages = counts.lz4_pages;
  p.lz4_bytes_in = counts.lz4_bytes_in;
  p.lz4_bytes_out = counts.lz4_bytes_out;
  if (p.status == Status::kActive && iteration_ > 0) refresh_iteration_locked(counts);
  if (p.status == Status::kCompleted) p.remaining_bytes = 0;
  if (storage_) refresh_storage_locked();
}

// Where the iteration under way stands. The rate is that of this iteration so far, once it has
// lasted long enough to have one.
void MigrationSource::Impl::refresh_iteration_locked(const PageCounts& counts) {
  const auto pages = [](const PageCounts& c) { return c.normal + c.duplicate + c.free; };
  const uint64_t done = pages(counts) - pages(iteration_before_);
  const uint64_t left = iteration_pages_ - std::min(done, iteration_pages_);
  progress_.remaining_bytes = left * kPageSize;
  const Nanoseconds spent = now() - iteration_start_;
  if (spent < kPublishEvery || done == 0) return;
  const double seconds = to_seconds(spent);
  progress_.wire_bytes_per_second =
      static_cast<double>(counts.wire_bytes - iteration_before_.wire_bytes) / seconds;
  progress_.time_left =
      from_seconds(static_cast<double>(left) * seconds / static_cast<double>(done));
}

}  // namespace godwit::migration
