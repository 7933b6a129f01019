#include "tools/godwit/process/hosted_guest.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <utility>

#include "vmm/base/check.h"

namespace godwit::tools {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitCancelled = 5;

// A guest that resets itself so soon after its start, so often in a row, will never do anything
// else.
constexpr Nanoseconds kQuickReset = std::chrono::seconds(1);
constexpr int kMostQuickResets = 3;

}  // namespace

HostedGuest::HostedGuest(EventLoop& loop, Config config)
    : loop_(loop), config_(std::move(config)) {}

HostedGuest::~HostedGuest() {
  cancel_worker();
  if (worker_.joinable()) worker_.join();
  if (machine_) machine_->shut_down(state_ == GuestState::kMigrated);
}

void HostedGuest::take_machine(std::unique_ptr<GuestMachine> machine) {
  machine_ = std::move(machine);
  const vmm::MachineDescription description = machine_->describe();
  description_.vcpus = description.vcpus;
  description_.memory = description.memory_size;
  description_.console = machine_->console();
  description_.dirty_tracking = machine_->dirty_tracker().name();
  started_ = now();
}

void HostedGuest::start(std::unique_ptr<GuestMachine> machine) {
  take_machine(std::move(machine));
  state_ = GuestState::kRunning;
  booted_here_ = true;
  machine_->resume();
  spdlog::info("guest '{}' runs; console: {}", config_.name, description_.console);
}

void HostedGuest::receive(std::unique_ptr<Receiver> receiver, std::string listen) {
  listen_ = std::move(listen);
  receiver_ = std::move(receiver);
  receiver_->on_settled([this](const std::optional<migration::MigrationResult>& figures) {
    loop_.post([this, figures] { settled(figures); });
  });
  spdlog::info("'{}' waits for a guest at {}", config_.name, listen_);
  worker_ = std::jthread([this] {
    received_ = receiver_->run();
    loop_.post([this] { receiving_ended(); });
  });
}

Observer HostedGuest::observer() {
  return [this](const migration::Progress& progress) { news_.progress(progress); };
}

void HostedGuest::end(Ending ending) {
  if (ending_) return;
  ending_ = std::move(ending);
  spdlog::info("'{}' ends: {}", config_.name, ending_->reason);
  if (migrating())
    cancel_worker();  // goes on when the worker is done
  else
    finish_end();
}

void HostedGuest::finish_end() {
  if (ended_) return;
  ended_ = true;
  if (machine_) machine_->shut_down(state_ == GuestState::kMigrated);
  if (state_ != GuestState::kMigrated) state_ = GuestState::kShutDown;
  config_.on_end(*ending_);
}

GuestInfo HostedGuest::info() {
  GuestInfo info = description_;
  info.name = config_.name;
  info.pid = ::getpid();
  info.state = state_;
  if (booted_here_) info.kernel = config_.reboot.boot.kernel;
  info.listen = listen_;
  if (machine_) info.uptime = now() - started_;
  if (machine_) machine_->describe_devices(info);
  return info;
}

Result<> HostedGuest::expect_guest() const {
  if (ending_ || fate_ == Fate::kIsOver)
    return make_error(Errc::kPrecondition, "'{}' is ending", config_.name);
  if (fate_ == Fate::kResets)
    return make_error(Errc::kPrecondition, "'{}' is rebooting: try again", config_.name);
  if (!machine_)
    return make_error(Errc::kPrecondition, "'{}' has no guest yet: it waits for one at {}",
                      config_.name, listen_);
  if (state_ == GuestState::kMigrated)
    return make_error(Errc::kPrecondition, "'{}' has moved to another host", config_.name);
  if (migrating())
    return make_error(Errc::kPrecondition,
                      "'{}' is being migrated: wait for the end, or cancel with: godwit cancel {}",
                      config_.name, config_.name);
  return {};
}

Result<> HostedGuest::pause() {
  GODWIT_TRY(expect_guest());
  if (state_ != GuestState::kRunning) return {};
  machine_->pause();
  state_ = GuestState::kPaused;
  spdlog::info("guest '{}' is paused", config_.name);
  return {};
}

Result<> HostedGuest::resume(bool fenced) {
  GODWIT_TRY(expect_guest());
  if (state_ == GuestState::kUnknownOutcome && !fenced)
    return make_error(Errc::kPrecondition,
                      "'{0}' may run at the target of its last migration: make sure that it does "
                      "not (stop it there or fence that host), then: godwit resume {0} --fenced",
                      config_.name);
  if (state_ == GuestState::kRunning) return {};
  if (state_ == GuestState::kUnknownOutcome)
    spdlog::warn(
        "guest '{}' resumes after a migration of unknown outcome: the user vouches that "
        "it runs nowhere else",
        config_.name);
  machine_->resume();
  state_ = GuestState::kRunning;
  spdlog::info("guest '{}' runs", config_.name);
  return {};
}

Result<> HostedGuest::press_power_button() {
  const bool sending = migrating() && machine_ && state_ == GuestState::kRunning;
  if (sending && !ending_ && fate_ == Fate::kLives) {
    press_when_back_ = true;
    cancel_worker();
    return {};
  }
  GODWIT_TRY(expect_guest());
  if (state_ != GuestState::kRunning)
    return make_error(Errc::kPrecondition, "'{}' is {}: it would not hear of its power button",
                      config_.name,
                      state_ == GuestState::kPaused ? "paused" : "perhaps on another host");
  return press_now();
}

Result<> HostedGuest::press_now() {
  if (!machine_->press_power_button())
    return make_error(Errc::kPrecondition,
                      "'{}' does not listen to its power button: no driver has enabled it",
                      config_.name);
  spdlog::info("the power button of '{}' was pressed", config_.name);
  return {};
}

Result<> HostedGuest::shut_down() {
  // Answered first: the ending closes the API.
  loop_.post([this] { end({0, "stopped by request"}); });
  return {};
}

Result<> HostedGuest::resize_balloon(ByteCount memory) {
  GODWIT_TRY(expect_guest());
  return machine_->resize_balloon(memory);
}

Result<> HostedGuest::send_migration(const MigrationRequest& request) {
  GODWIT_TRY(expect_guest());
  if (state_ == GuestState::kUnknownOutcome)
    return make_error(Errc::kPrecondition,
                      "'{}' may run at the target of its last migration; settle that first with "
                      "`godwit resume --fenced` or `godwit stop`",
                      config_.name);
  GODWIT_ASSIGN(auto sender, config_.make_sender(*machine_, request, observer()));
  {
    const std::lock_guard lock(worker_mutex_);
    sender_ = std::move(sender);
    if (fate_ != Fate::kLives) sender_->cancel();  // since it was last asked
  }
  news_.begin();
  spdlog::info("guest '{}' is being migrated to {}", config_.name, request.destination);
  worker_ = std::jthread([this, request] {
    sent_ = sender_->run();
    loop_.post([this, request] { sending_ended(request); });
  });
  return {};
}

Result<> HostedGuest::cancel_migration() {
  if (!migrating())
    return make_error(Errc::kPrecondition, "'{}' is not being migrated", config_.name);
  cancel_worker();
  return {};
}

void HostedGuest::cancel_worker() noexcept {
  const std::lock_guard lock(worker_mutex_);
  if (sender_) sender_->cancel();
  if (receiver_) receiver_->cancel();
}

void HostedGuest::sending_ended(const MigrationRequest& request) {
  worker_.join();
  {
    const std::lock_guard lock(worker_mutex_);
    sender_.reset();
  }
  if (sent_.error && sent_.error->code == Errc::kCancelled && fate_ != Fate::kLives)
    sent_.error->message = fate_ == Fate::kResets ? "the guest reset itself during the migration"
                                                  : "the guest ended during the migration";
  const std::string reason = sent_.error ? sent_.error->message : "";
  Ending ending;
  switch (sent_.progress.status) {
    case migration::Status::kCompleted:
      state_ = GuestState::kMigrated;
      spdlog::info("guest '{}' has moved to {}; blackout {:.3f} ms", config_.name,
                   request.destination, to_ms(sent_.downtime.value_or(Nanoseconds(0))));
      ending = {0, "the guest runs at " + request.destination};
      break;
    case migration::Status::kUnknown:
      state_ = GuestState::kUnknownOutcome;
      spdlog::error("guest '{}' is paused here and may run at {}: {}", config_.name,
                    request.destination, reason);
      break;
    default:
      spdlog::warn("the migration of '{}' to {} ended, the guest stays here: {}", config_.name,
                   request.destination, reason);
  }
  news_.finish(sent_);
  sent_ = {};
  if (state_ == GuestState::kMigrated && !ending_) ending_ = std::move(ending);
  const bool press = std::exchange(press_when_back_, false) && !ending_ && fate_ == Fate::kLives &&
                     state_ == GuestState::kRunning;
  if (press) {
    if (const auto pressed = press_now(); !pressed) spdlog::warn("{}", pressed.error().message);
  }
  if (ending_) finish_end();
  reboot();
}

void HostedGuest::receiving_ended() {
  worker_.join();
  const bool arrived = received_.machine != nullptr;
  {
    const std::lock_guard lock(worker_mutex_);
    if (arrived) answering_ = std::move(receiver_);
    receiver_.reset();
  }
  migration::MigrationResult result;
  result.progress = news_.latest().progress;
  result.total_time = received_.total_time;
  result.error = received_.error;
  result.verify = received_.verify;
  const bool cancelled = received_.error && received_.error->code == Errc::kCancelled;
  result.progress.status = arrived     ? migration::Status::kCompleted
                           : cancelled ? migration::Status::kCancelled
                                       : migration::Status::kFailed;
  arrival_news_ = news_.finish(result);
  if (arrived) adopt(std::move(received_.machine));
  if (!arrived) {
    const std::string reason = received_.error ? received_.error->message : "no guest arrived";
    const int status = cancelled ? kExitCancelled : kExitFailed;
    if (!ending_ || !cancelled) spdlog::error("no guest arrived: {}", reason);
    ending_ = Ending{status, reason};
  }
  received_ = {};
  if (ending_) finish_end();
  reboot();
}

// Nobody will ask any more what became of the guest: the address is free.
void HostedGuest::settled(const std::optional<migration::MigrationResult>& figures) {
  if (migrating() && !machine_) {
    // Here before the news of the arrival, which was posted by another thread.
    loop_.post([this, figures] { settled(figures); });
    return;
  }
  answering_.reset();
  if (figures) news_.amend(arrival_news_, *figures);
}

void HostedGuest::adopt(std::unique_ptr<vmm::Machine> machine) {
  auto* guest = dynamic_cast<GuestMachine*>(machine.get());
  GODWIT_CHECK(guest != nullptr, "the receiver's factory makes GuestMachines");
  machine.release();  // NOLINT(bugprone-unused-return-value): it is `guest`
  take_machine(std::unique_ptr<GuestMachine>(guest));
  state_ = machine_->running() ? GuestState::kRunning : GuestState::kPaused;
  listen_.clear();
  spdlog::info("guest '{}' has arrived and is {}; console: {}", config_.name, state_name(state_),
               description_.console);
}

bool HostedGuest::decide(Fate fate) noexcept {
  Fate lives = Fate::kLives;
  if (!fate_.compare_exchange_strong(lives, fate)) return false;
  // Before the pause of a switchover can end: what is over must not be resumed at the target.
  cancel_worker();
  return true;
}

void HostedGuest::guest_ended(Ending ending) {
  if (!decide(Fate::kIsOver)) return;
  loop_.post([this, ending = std::move(ending)] { end(ending); });
}

void HostedGuest::power_off() {
  guest_ended({0, "the guest powered off"});
}

void HostedGuest::reset() {
  if (!config_.reboot.refusal.empty()) {
    guest_ended({0, "the guest asked for a reset, which ends it: " + config_.reboot.refusal});
    return;
  }
  if (decide(Fate::kResets)) loop_.post([this] { reboot(); });
}

bool HostedGuest::resets_too_often() {
  quick_resets_ = now() - started_ < kQuickReset ? quick_resets_ + 1 : 0;
  return quick_resets_ >= kMostQuickResets;
}

void HostedGuest::reboot() {
  if (fate_ != Fate::kResets || ending_ || migrating()) return;
  if (state_ != GuestState::kRunning && state_ != GuestState::kPaused) return;
  if (resets_too_often()) {
    end({kExitFailed, fmt::format("the guest resets itself over and over: {} times within {} s of "
                                  "its start; see its console, and try --no-reboot",
                                  kMostQuickResets, kQuickReset / std::chrono::seconds(1))});
    return;
  }
  spdlog::info("guest '{}' reboots", config_.name);
  auto next = machine_->reboot(config_.reboot.boot);
  machine_.reset();
  if (!next) {
    end({kExitFailed, "it cannot reboot: " + next.error().message});
    return;
  }
  take_machine(std::move(*next));
  booted_here_ = true;
  fate_ = Fate::kLives;
  if (state_ == GuestState::kRunning) machine_->resume();
}

void HostedGuest::debug_exit(uint32_t code) {
  guest_ended({static_cast<int>((code << 1 | 1) & 0xff),
               fmt::format("the guest wrote {} to its debug-exit port", code)});
}

void HostedGuest::fault(const std::string& text) {
  spdlog::error("guest '{}' cannot go on: {}", config_.name, text);
  guest_ended({kExitFailed, "a vCPU cannot go on"});
}

}  // namespace godwit::tools
