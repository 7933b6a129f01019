#include "devices/virtio/net_announcement.h"

#include <sys/timerfd.h>

#include <algorithm>

#include "vmm/base/syscall.h"

namespace godwit::devices::virtio {

NetAnnouncement::NetAnnouncement()
    : alarm_(check_syscall(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
                           "timerfd_create")) {}

void NetAnnouncement::run(IoThread& thread, std::function<void()> send) {
  send_ = std::move(send);
  if (!timer_.due()) return;
  thread.watch(alarm_.get(), [this] {
    drain_eventfd(alarm_.get());
    if (timer_.take(now())) send_();
    arm();
  });
  arm();
}

void NetAnnouncement::pause(IoThread& thread) {
  thread.unwatch(alarm_.get());
}

void NetAnnouncement::stop(IoThread& thread) {
  pause(thread);
  timer_.stop();
}

void NetAnnouncement::arm() {
  const auto due = timer_.due();
  if (!due) return;
  // Zero would turn the timer off.
  const auto left = std::max<int64_t>(Nanoseconds(*due - now()).count(), 1);
  itimerspec setting{};
  setting.it_value.tv_sec = left / 1'000'000'000;
  setting.it_value.tv_nsec = left % 1'000'000'000;
  check_syscall(::timerfd_settime(alarm_.get(), 0, &setting, nullptr), "timerfd_settime");
}

}  // namespace godwit::devices::virtio
