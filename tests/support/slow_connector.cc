#include "tests/support/slow_connector.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace godwit::support {
namespace {

class SlowChannel final : public migration::Channel {
 public:
  SlowChannel(std::unique_ptr<Channel> inner, Nanoseconds delay)
      : inner_(std::move(inner)), delay_(delay) {}

  using Channel::receive;
  using Channel::send;
  Result<> send(std::span<const migration::ConstBuffer> buffers) override {
    return inner_->send(buffers);
  }
  Result<> flush() override {
    answer_at_ = now() + delay_;
    return inner_->flush();
  }
  Result<> receive(std::span<const migration::MutableBuffer> buffers) override {
    std::this_thread::sleep_until(answer_at_);
    return inner_->receive(buffers);
  }
  Result<bool> wait_readable(Nanoseconds limit) override {
    const TimePoint until = now() + limit;
    std::this_thread::sleep_until(std::min(until, answer_at_));
    if (answer_at_ > until) return false;
    return inner_->wait_readable(std::max(until - now(), Nanoseconds(0)));
  }
  void set_timeout(Nanoseconds timeout) override { inner_->set_timeout(timeout); }
  void shutdown() noexcept override { inner_->shutdown(); }
  [[nodiscard]] bool authenticated() const override { return inner_->authenticated(); }
  [[nodiscard]] migration::ChannelStats stats() const override { return inner_->stats(); }
  [[nodiscard]] std::string peer() const override { return inner_->peer(); }

 private:
  std::unique_ptr<Channel> inner_;
  Nanoseconds delay_;
  TimePoint answer_at_{};
};

}  // namespace

Result<std::unique_ptr<migration::Channel>> SlowConnector::connect(Nanoseconds limit) {
  GODWIT_ASSIGN(auto channel, inner_.connect(limit));
  const Nanoseconds delay = std::exchange(delay_, Nanoseconds(0));
  if (delay.count() == 0) return channel;
  return std::unique_ptr<migration::Channel>(
      std::make_unique<SlowChannel>(std::move(channel), delay));
}

}  // namespace godwit::support
