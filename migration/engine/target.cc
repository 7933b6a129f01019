#include "migration/target.h"

#include <spdlog/spdlog.h>

#include <atomic>
#include <system_error>
#include <thread>

#include "migration/engine/target_session.h"
#include "migration/engine/thread_util.h"

namespace godwit::migration {
namespace {

// How long a target that has taken over answers what became of the session, beside its work, unless
// the source confirms before; how long the confirmation may take that needs no asking.
constexpr Nanoseconds kAnswerCommitted = std::chrono::seconds(30);
constexpr Nanoseconds kSettleSoon = std::chrono::seconds(1);
constexpr Nanoseconds kNoLimit = std::chrono::hours(24 * 365);

}  // namespace

class MigrationTarget::Impl {
 public:
  Impl(Acceptor& acceptor, vmm::MachineFactory& factory, const TargetParameters& parameters,
       Observer observer)
      : acceptor_(acceptor),
        factory_(factory),
        parameters_(parameters),
        observer_(std::move(observer)) {}

  ~Impl() {
    if (!answering_.joinable()) return;
    stop_answering_ = true;
    acceptor_.cancel();
    answering_.join();
  }

  TargetResult run();
  void on_settled(OnSettled settled) { on_settled_ = std::move(settled); }
  void cancel() noexcept {
    shared_.cancel = true;
    acceptor_.cancel();
  }
  [[nodiscard]] Progress progress() const {
    Progress p;
    p.status = shared_.status;
    p.transferred_bytes = shared_.received_bytes;
    p.total_bytes = shared_.total_bytes;
    if (const TimePoint start = started_; start != TimePoint{}) p.elapsed = now() - start;
    return p;
  }

 private:
  Result<std::unique_ptr<TargetSession>> await_source();
  Result<> receive(TargetSession& session);
  void answer(const wire::SessionId& session, wire::OutcomeState state, Nanoseconds limit);
  void settle(TargetSession& session);
  void set_status(Status status) {
    shared_.status = status;
    if (observer_) observer_(progress());
  }

  Acceptor& acceptor_;
  vmm::MachineFactory& factory_;
  TargetParameters parameters_;
  Observer observer_;
  OnSettled on_settled_;
  TargetSession::Shared shared_;
  std::atomic<TimePoint> started_{TimePoint{}};
  std::atomic<bool> stop_answering_{false};
  std::jthread answering_;
};

MigrationTarget::MigrationTarget(Acceptor& acceptor, vmm::MachineFactory& factory,
                                 const TargetParameters& parameters, Observer observer)
    : impl_(std::make_unique<Impl>(acceptor, factory, parameters, std::move(observer))) {}
MigrationTarget::~MigrationTarget() = default;
TargetResult MigrationTarget::run() {
  return impl_->run();
}
void MigrationTarget::on_settled(OnSettled settled) {
  impl_->on_settled(std::move(settled));
}
void MigrationTarget::cancel() noexcept {
  impl_->cancel();
}
Progress MigrationTarget::progress() const {
  return impl_->progress();
}

// A connection that is no source, or a source that is refused, leaves the target waiting: nothing
// has been received yet.
Result<std::unique_ptr<TargetSession>> MigrationTarget::Impl::await_source() {
  const TimePoint deadline =
      now() + (parameters_.accept_timeout.count() > 0 ? parameters_.accept_timeout : kNoLimit);
  for (;;) {
    if (shared_.cancel) return Error{Errc::kCancelled, "cancelled while waiting for a source"};
    GODWIT_ASSIGN(auto channel, acceptor_.accept(deadline - now()));
    const std::string peer = channel->peer();
    const auto preamble = read_preamble(*channel);
    if (!preamble) {
      spdlog::warn("migration: dropped a connection from {}: {}", peer, preamble.error().message);
      continue;
    }
    if (preamble->role != wire::Role::kControl) {
      spdlog::warn("migration: dropped a connection from {} that belongs to no migration", peer);
      continue;
    }
    started_ = now();
    auto session = std::make_unique<TargetSession>(std::move(channel), *preamble, acceptor_,
                                                   factory_, parameters_, shared_);
    const Result<> introduced = session->introduce();
    if (introduced) return session;
    session->report_failure(introduced.error());
    spdlog::warn("migration: refused a source at {}: {}", peer, introduced.error().message);
    shared_.status = Status::kNone;
  }
}

TargetResult MigrationTarget::Impl::run() {
  TargetResult result;
  auto session = await_source();
  if (!session) {
    result.error = session.error();
    set_status(shared_.cancel ? Status::kCancelled : Status::kFailed);
    return result;
  }
  TargetSession& visit = **session;
  const Result<> received = receive(visit);
  result.total_time = now() - started_.load();
  result.verify = visit.verify();
  result.received_bytes = shared_.received_bytes;
  if (received) {
    result.machine = visit.take_machine();
    set_status(Status::kCompleted);
    answering_ = std::jthread([this, settling = std::move(*session)] {
      name_thread("gw-outcome", 0);
      settle(*settling);
    });
    return result;
  }
  result.error = received.error();
  visit.report_failure(received.error());
  visit.drop_machine();
  set_status(shared_.cancel ? Status::kCancelled : Status::kFailed);
  if (visit.promised())
    answer(visit.id(), wire::OutcomeState::kAborted, parameters_.answer_timeout);
  return result;
}

Result<> MigrationTarget::Impl::receive(TargetSession& session) {
  try {
    return session.receive();
  } catch (const std::system_error& e) {
    return make_error(Errc::kIo, "a host call failed at the target: {}", e.what());
  }
}

void MigrationTarget::Impl::settle(TargetSession& session) {
  const auto settled = session.await_settled(kSettleSoon, stop_answering_);
  if (!settled) answer(session.id(), wire::OutcomeState::kCommitted, kAnswerCommitted);
  if (!on_settled_ || stop_answering_) return;
  std::optional<MigrationResult> figures;
  if (settled) {
    figures = wire::result_of(*settled);
    figures->progress.total_bytes = shared_.total_bytes;
    figures->verify = session.verify();
    figures->peer = session.peer();
  }
  on_settled_(figures);
}

// A source whose COMMIT or whose confirmation was lost comes back to ask. See PROTOCOL.md.
void MigrationTarget::Impl::answer(const wire::SessionId& session, wire::OutcomeState state,
                                   Nanoseconds limit) {
  const TimePoint deadline = now() + limit;
  while (now() < deadline && !stop_answering_) {
    auto channel = acceptor_.accept(deadline - now());
    if (!channel) return;
    const auto preamble = read_preamble(**channel);
    if (!preamble || preamble->role != wire::Role::kOutcome) continue;
    const bool ours = preamble->session == session;
    wire::MessageChannel messages(std::move(*channel));
    (void)messages.send(wire::MessageType::kOutcome,
                        wire::Outcome{ours ? state : wire::OutcomeState::kUnknownSession});
  }
}

}  // namespace godwit::migration
