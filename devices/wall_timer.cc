#include "devices/wall_timer.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "vmm/base/syscall.h"

namespace godwit::devices {

HostWallTimer::HostWallTimer()
    : timer_(check_syscall(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK),
                           "timerfd_create")),
      stop_(check_syscall(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {}

HostWallTimer::~HostWallTimer() {
  stop();
}

Microseconds HostWallTimer::now() const {
  return std::chrono::duration_cast<Microseconds>(
      std::chrono::system_clock::now().time_since_epoch());
}

void HostWallTimer::arm(Microseconds at) {
  // Zero would disarm.
  const int64_t us = std::max<int64_t>(at.count(), 1);
  itimerspec spec{};
  spec.it_value.tv_sec = us / 1'000'000;
  spec.it_value.tv_nsec = us % 1'000'000 * 1000;
  check_syscall(::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr),
                "timerfd_settime");
}

void HostWallTimer::start(std::function<void()> on_alarm) {
  on_alarm_ = std::move(on_alarm);
  thread_ = std::jthread([this] { run(); });
}

void HostWallTimer::stop() noexcept {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void HostWallTimer::run() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  while (true) {
    std::array<pollfd, 2> fds = {{{timer_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), -1);
    if (fds[1].revents != 0) return;
    uint64_t expirations;
    if (::read(timer_.get(), &expirations, sizeof expirations) == sizeof expirations) on_alarm_();
  }
}

}  // namespace godwit::devices
