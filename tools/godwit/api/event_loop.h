// The one thread for decisions: API, signals, timers, and what guest and migration threads post.
#pragma once
#include <functional>
#include <memory>

#include "vmm/base/clock.h"

namespace boost::asio {
class io_context;
}

namespace godwit::tools {

class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs until stop(), on the calling thread; everything else happens on it.
  void run();
  // Any thread; run() returns soon, and at once if it starts later.
  void stop() noexcept;
  // Any thread. A task that is still waiting when the loop ends never runs.
  void post(std::function<void()> task);
  void after(Nanoseconds delay, std::function<void()> task);
  // SIGINT, SIGTERM and SIGHUP go to `handler` from now on instead of ending the process.
  void on_signal(std::function<void(int)> handler);

  boost::asio::io_context& context();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::tools
