#include "devices/console/buffered_console.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "vmm/base/check.h"
#include "vmm/base/syscall.h"

namespace godwit::devices {
namespace {

// Signals are the main thread's business; and a closed pipe must be an EPIPE here, a terminal that
// belongs to another process group an EIO, not the end of the process.
void block_all_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

// For log lines.
std::string name_of(const ConsoleEndpoint& endpoint) {
  const std::string path = endpoint.path();
  return path.empty() ? "serial console" : fmt::format("serial console '{}'", path);
}

int poll_timeout_ms(TimePoint deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

}  // namespace

BufferedConsole::BufferedConsole(std::unique_ptr<ConsoleEndpoint> endpoint, Nanoseconds stall_limit)
    : endpoint_(std::move(endpoint)),
      stall_limit_(stall_limit),
      wake_(check_syscall(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      thread_([this] { run(); }) {}

BufferedConsole::~BufferedConsole() {
  shut_down(Unsent::kSendUnlessQuiesced);
}

void BufferedConsole::attach(ConsoleClient& client) {
  const Lock lock(mutex_);
  GODWIT_CHECK(paused_ && client_ == nullptr, "a quiet console is attached, to one device");
  client_ = &client;
  input_wanted_ = true;
  wake_locked();  // it may be polling for output alone
}

void BufferedConsole::detach() noexcept {
  Lock lock(mutex_);
  detaching_ = true;
  changed_.wait(lock, [this] { return !working_; });
  client_ = nullptr;
  input_wanted_ = false;
  output_wanted_ = false;
  detaching_ = false;
  changed_.notify_all();
}

void BufferedConsole::wake_locked() {
  if (!sleeping_ || woken_) return;
  const uint64_t one = 1;
  woken_ = ::write(wake_.get(), &one, sizeof one) == sizeof one;
}

size_t BufferedConsole::write(std::span<const std::byte> bytes) {
  const Lock lock(mutex_);
  if (stalled_ || stopping_) {
    counters_.dropped_bytes += bytes.size();
    return bytes.size();
  }
  const bool was_empty = output_.empty();
  const size_t n = output_.push(bytes);
  if (n < bytes.size() && !output_wanted_) {
    output_wanted_ = true;
    stall_deadline_ = now() + stall_limit_;
    wake_locked();
  } else if (was_empty && n != 0) {
    wake_locked();
  }
  return n;
}

void BufferedConsole::set_input_wanted(bool wanted) {
  const Lock lock(mutex_);
  if (wanted == input_wanted_) return;
  input_wanted_ = wanted;
  if (wanted) wake_locked();
}

void BufferedConsole::quiesce() {
  Lock lock(mutex_);
  paused_ = true;
  // The thread asleep in poll() is as good as stopped: it looks at paused_ before it does anything.
  changed_.wait(lock, [this] { return !working_; });
}

void BufferedConsole::resume() {
  const Lock lock(mutex_);
  if (!paused_) return;
  paused_ = false;
  if (output_wanted_) stall_deadline_ = now() + stall_limit_;
  if (!sleeping_) {
    changed_.notify_all();
  } else if (!output_.empty() || output_wanted_) {
    wake_locked();  // what it polls for may be out of date
  }
}

void BufferedConsole::save_output(ByteWriter& out) const {
  const Lock lock(mutex_);
  out.u32(static_cast<uint32_t>(output_.size()));
  out.bytes(output_.front());
  out.bytes(output_.back());
}

void BufferedConsole::load_output(std::span<const std::byte> bytes) {
  const Lock lock(mutex_);
  GODWIT_CHECK(paused_ && bytes.size() <= output_.capacity(), "output loaded into a quiet console");
  output_.clear();
  output_.push(bytes);
  output_wanted_ = false;
  stalled_ = false;
}

void BufferedConsole::shut_down(Unsent unsent) noexcept {
  {
    const Lock lock(mutex_);
    if (!stopping_) {
      stopping_ = true;
      drain_ = unsent == Unsent::kSend || (unsent == Unsent::kSendUnlessQuiesced && !paused_);
    }
    wake_locked();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

ConsoleCounters BufferedConsole::counters() const {
  const Lock lock(mutex_);
  return counters_;
}

void BufferedConsole::run() {
  block_all_signals();
  Lock lock(mutex_);
  while (!stopping_) {
    if (paused_ || detaching_) {
      changed_.wait(lock, [this] { return (!paused_ && !detaching_) || stopping_; });
      continue;
    }
    const ConsoleEndpoint::Ready ready = wait_for_events(lock);
    if (paused_ || detaching_ || stopping_) continue;
    working_ = true;
    if (ready.input && input_wanted_) receive_input(lock);
    if (ready.output) send_output(lock);
    give_up_when_stalled(lock);
    working_ = false;
    if (paused_ || detaching_) changed_.notify_all();
  }
  if (drain_) drain(lock);
  counters_.dropped_bytes += drain_ ? output_.size() : 0;
  output_.clear();
}

ConsoleEndpoint::Ready BufferedConsole::wait_for_events(Lock& lock) {
  std::array<pollfd, 1 + ConsoleEndpoint::kMaxFds> fds;
  fds.fill({-1, 0, 0});
  fds[0] = {wake_.get(), POLLIN, 0};
  const auto set = ConsoleEndpoint::PollSet(fds.data() + 1, ConsoleEndpoint::kMaxFds);
  auto ready = endpoint_->prepare(input_wanted_, stalled_ || !output_.empty(), set);
  const bool at_once = ready.input || ready.output;
  const int timeout = at_once ? 0 : output_wanted_ ? poll_timeout_ms(stall_deadline_) : -1;
  sleeping_ = true;
  lock.unlock();
  const int found = ::poll(fds.data(), fds.size(), timeout);
  lock.lock();
  sleeping_ = false;
  if (woken_) {
    uint64_t count;
    if (::read(wake_.get(), &count, sizeof count) == sizeof count) woken_ = false;
  }
  // While paused nothing may happen, not even taking a client: that is found again later.
  if (paused_ || stopping_) return {};
  if (found > 0) {
    const ConsoleEndpoint::Ready polled = endpoint_->after_poll(set);
    ready.input |= polled.input;
    ready.output |= polled.output;
  }
  return ready;
}

void BufferedConsole::receive_input(Lock& lock) {
  input_wanted_ = false;  // until the client says otherwise, maybe before receive() returns
  std::array<std::byte, kConsoleInputChunk> chunk;
  lock.unlock();
  const size_t n = endpoint_->read(chunk);
  const bool more = n == 0 || client_ == nullptr || client_->receive(std::span(chunk).first(n));
  lock.lock();
  counters_.input_bytes += n;
  if (more) input_wanted_ = true;
}

void BufferedConsole::send_output(Lock& lock) {
  if (stalled_) {
    stalled_ = false;
    spdlog::info("{}: the other end reads again, {} bytes were dropped so far", name_of(*endpoint_),
                 counters_.dropped_bytes);
  }
  const auto chunk = output_.front();
  if (chunk.empty()) return;
  lock.unlock();
  const ConsoleEndpoint::Written written = endpoint_->write(chunk);
  lock.lock();
  output_.pop(written.sent + written.dropped);
  counters_.output_bytes += written.sent;
  counters_.dropped_bytes += written.dropped;
  if (!output_wanted_ || written.sent + written.dropped == 0) return;
  stall_deadline_ = now() + stall_limit_;
  // Room for a few bytes would mean a wake-up for a few bytes.
  if (output_.room() >= output_.capacity() / 2) tell_room(lock);
}

void BufferedConsole::give_up_when_stalled(Lock& lock) {
  if (!output_wanted_ || now() < stall_deadline_) return;
  counters_.dropped_bytes += output_.size();
  spdlog::warn(
      "{}: the other end takes no output, {} bytes dropped; the guest's output "
      "goes nowhere until it reads again",
      name_of(*endpoint_), output_.size());
  output_.clear();
  stalled_ = true;
  tell_room(lock);
}

void BufferedConsole::tell_room(Lock& lock) {
  output_wanted_ = false;
  if (client_ == nullptr) return;
  lock.unlock();
  client_->output_room();
  lock.lock();
}

void BufferedConsole::drain(Lock& lock) {
  lock.unlock();  // stopping_ keeps everybody else away from output_
  const TimePoint deadline = now() + kConsoleDrainLimit;
  while (!output_.empty() && now() < deadline) {
    std::array<pollfd, ConsoleEndpoint::kMaxFds> fds;
    fds.fill({-1, 0, 0});
    if (!endpoint_->prepare(false, true, fds).output) {
      if (::poll(fds.data(), fds.size(), poll_timeout_ms(deadline)) <= 0) break;
      if (!endpoint_->after_poll(fds).output) continue;
    }
    const ConsoleEndpoint::Written written = endpoint_->write(output_.front());
    const Lock guard(mutex_);
    output_.pop(written.sent + written.dropped);
    counters_.output_bytes += written.sent;
    counters_.dropped_bytes += written.dropped;
  }
  lock.lock();
}

}  // namespace godwit::devices
