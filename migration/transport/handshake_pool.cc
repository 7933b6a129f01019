#include "migration/transport/handshake_pool.h"

#include <spdlog/spdlog.h>

#include "migration/transport/deadline.h"
#include "migration/transport/tls_channel.h"
#include "vmm/base/check.h"

namespace godwit::migration {
namespace {
constexpr uint32_t kLinesPerPeriod = 10;
constexpr auto kLogPeriod = std::chrono::minutes(1);
}  // namespace

HandshakePool::HandshakePool(std::shared_ptr<const TlsContext> tls, Nanoseconds limit,
                             std::function<void()> on_change)
    : tls_(std::move(tls)),
      limit_(limit),
      on_change_(std::move(on_change)),
      log_limiter_(kLinesPerPeriod, kLogPeriod) {}

HandshakePool::~HandshakePool() {
  {
    const std::lock_guard lock(mutex_);
    for (auto& each : running_) {
      if (each.socket) each.socket->shutdown();
    }
  }
  // The threads take the mutex before they end, and the list stays theirs until then.
  for (auto& each : running_) each.thread.join();
}

bool HandshakePool::full() {
  const std::lock_guard lock(mutex_);
  reap_locked();
  return running_.size() + established_.size() >= kMaxRunning;
}

void HandshakePool::start(std::shared_ptr<StreamSocket> socket) {
  const std::lock_guard lock(mutex_);
  reap_locked();
  GODWIT_CHECK(running_.size() < kMaxRunning, "handshakes are bounded");
  Running& entry = running_.emplace_back();
  entry.socket = std::move(socket);
  entry.thread = std::jthread([this, &entry] { run(entry); });
}

void HandshakePool::run(Running& self) {
  const auto socket = self.socket;
  std::unique_ptr<Channel> channel;
  std::string reason;
  try {
    auto result = TlsChannel::handshake(socket, *tls_, "", deadline_after(limit_));
    if (result) {
      channel = std::move(*result);
    } else {
      reason = result.error().message;
    }
  } catch (const std::exception& failure) {  // no memory, most likely: only this connection is lost
    reason = fmt::format("{}: {}", socket->peer(), failure.what());
  }
  {
    const std::lock_guard lock(mutex_);
    if (channel) {
      established_.push_back(std::move(channel));
    } else if (!socket->cancelled()) {
      log_failure_locked(reason);
    }
    self.socket.reset();  // the connection is the caller's from here on
    self.ended = true;
  }
  on_change_();
}

void HandshakePool::reap_locked() {
  running_.remove_if([](const Running& each) { return each.ended; });
}

void HandshakePool::log_failure_locked(const std::string& reason) {
  const auto held_back = log_limiter_.admit(now());
  if (!held_back) return;
  const std::string more =
      *held_back > 0 ? fmt::format(" ({} more like it)", *held_back) : std::string();
  spdlog::warn("a connection was dropped: {}{}", reason, more);
}

std::unique_ptr<Channel> HandshakePool::take() {
  const std::lock_guard lock(mutex_);
  reap_locked();
  if (established_.empty()) return nullptr;
  auto channel = std::move(established_.front());
  established_.pop_front();
  return channel;
}

}  // namespace godwit::migration
