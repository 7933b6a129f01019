#include "tools/godwit/api/event_loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>

namespace godwit::tools {
namespace asio = boost::asio;

struct EventLoop::Impl {
  void wait_for_signal() {
    signals.async_wait([this](boost::system::error_code problem, int number) {
      if (problem) return;
      handler(number);
      wait_for_signal();
    });
  }

  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  asio::signal_set signals{context};
  std::function<void(int)> handler;
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
  impl_->context.run();
}

void EventLoop::stop() noexcept {
  impl_->context.stop();
}

void EventLoop::post(std::function<void()> task) {
  asio::post(impl_->context, std::move(task));
}

void EventLoop::after(Nanoseconds delay, std::function<void()> task) {
  auto timer = std::make_shared<asio::steady_timer>(impl_->context, delay);
  timer->async_wait([timer, task = std::move(task)](boost::system::error_code problem) {
    if (!problem) task();
  });
}

void EventLoop::on_signal(std::function<void(int)> handler) {
  const bool first = !impl_->handler;
  impl_->handler = std::move(handler);
  if (!first) return;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) impl_->signals.add(number);
  impl_->wait_for_signal();
}

asio::io_context& EventLoop::context() {
  return impl_->context;
}

}  // namespace godwit::tools
