#include "tests/support/faulty_link.h"

namespace godwit::support {
namespace {
struct Connection {
  std::shared_ptr<Passed> passed;
  std::weak_ptr<MemoryPipe> there;
  std::weak_ptr<MemoryPipe> back;
};
}  // namespace

struct FaultyLink::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<FaultScript> scripts;
  size_t pipe_bytes = 0;
  std::vector<Connection> connections;
  std::deque<std::unique_ptr<Channel>> waiting;  // the acceptor's ends
  size_t attempts = 0;
  bool connecting_cancelled = false;
  bool accepting_cancelled = false;
};

class FaultyLink::LinkConnector final : public migration::Connector {
 public:
  explicit LinkConnector(std::shared_ptr<State> state) : state_(std::move(state)) {}

  Result<std::unique_ptr<Channel>> connect(Nanoseconds) override {
    const std::lock_guard lock(state_->mutex);
    if (state_->connecting_cancelled) {
      return make_error(Errc::kCancelled, "connecting to memory was cancelled");
    }
    const size_t k = state_->attempts++;
    FaultScript script = k < state_->scripts.size() ? state_->scripts[k] : FaultScript{};
    if (script.refuse) {
      return make_error(Errc::kIo, "cannot connect to memory: refused by script {}", k);
    }
    auto there = std::make_shared<MemoryPipe>(state_->pipe_bytes);
    auto back = std::make_shared<MemoryPipe>(state_->pipe_bytes);
    auto passed = std::make_shared<Passed>();
    state_->connections.push_back({passed, there, back});
    const std::string name = fmt::format("memory:{}", k);
    state_->waiting.push_back(std::make_unique<MemoryChannel>(back, there, name + ":source"));
    state_->changed.notify_all();
    return std::make_unique<FaultyChannel>(
        std::make_unique<MemoryChannel>(there, back, name + ":target"), std::move(script), passed);
  }

  void cancel() noexcept override {
    const std::lock_guard lock(state_->mutex);
    state_->connecting_cancelled = true;
  }

 private:
  std::shared_ptr<State> state_;
};

class FaultyLink::LinkAcceptor final : public migration::Acceptor {
 public:
  explicit LinkAcceptor(std::shared_ptr<State> state) : state_(std::move(state)) {}

  Result<std::unique_ptr<Channel>> accept(Nanoseconds limit) override {
    std::unique_lock lock(state_->mutex);
    const bool ready = state_->changed.wait_for(
        lock, std::min<Nanoseconds>(limit, std::chrono::hours(24)),
        [this] { return state_->accepting_cancelled || !state_->waiting.empty(); });
    if (state_->accepting_cancelled) {
      return make_error(Errc::kCancelled, "waiting for a connection in memory was cancelled");
    }
    if (!ready) return make_error(Errc::kTimeout, "no connection in memory came in time");
    auto channel = std::move(state_->waiting.front());
    state_->waiting.pop_front();
    return channel;
  }

  void cancel() noexcept override {
    const std::lock_guard lock(state_->mutex);
    state_->accepting_cancelled = true;
    state_->changed.notify_all();
  }

 private:
  std::shared_ptr<State> state_;
};

FaultyLink::FaultyLink(std::vector<FaultScript> scripts, size_t pipe_bytes)
    : state_(std::make_shared<State>()) {
  state_->scripts = std::move(scripts);
  state_->pipe_bytes = pipe_bytes;
  connector_ = std::make_unique<LinkConnector>(state_);
  acceptor_ = std::make_unique<LinkAcceptor>(state_);
}

FaultyLink::~FaultyLink() = default;

migration::Connector& FaultyLink::connector() {
  return *connector_;
}

migration::Acceptor& FaultyLink::acceptor() {
  return *acceptor_;
}

size_t FaultyLink::connections() const {
  const std::lock_guard lock(state_->mutex);
  return state_->connections.size();
}

uint64_t FaultyLink::bytes_sent(size_t k) const {
  const std::lock_guard lock(state_->mutex);
  return k < state_->connections.size() ? state_->connections[k].passed->sent.load() : 0;
}

uint64_t FaultyLink::bytes_received(size_t k) const {
  const std::lock_guard lock(state_->mutex);
  return k < state_->connections.size() ? state_->connections[k].passed->received.load() : 0;
}

void FaultyLink::cut_all() {
  const std::lock_guard lock(state_->mutex);
  for (const auto& connection : state_->connections) {
    for (const auto& weak : {connection.there, connection.back}) {
      const auto pipe = weak.lock();
      if (!pipe) continue;
      pipe->end_writing();
      pipe->end_reading();
    }
  }
}

}  // namespace godwit::support
