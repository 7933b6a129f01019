#include "devices/io_thread/io_thread.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>

#include "vmm/base/check.h"
#include "vmm/base/syscall.h"

namespace godwit::devices {

void drain_eventfd(int fd) noexcept {
  uint64_t count;
  [[maybe_unused]] const ssize_t n = ::read(fd, &count, sizeof count);
}

void ring_eventfd(int fd) noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(fd, &one, sizeof one);
}

UniqueFd make_eventfd() {
  return UniqueFd(check_syscall(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
}

IoThread::IoThread(const std::string& name)
    : epoll_(check_syscall(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      wake_(make_eventfd()) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_.get();
  check_syscall(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event), "epoll_ctl");
  thread_ = std::jthread([this] { loop(); });
  ::pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

IoThread::~IoThread() {
  stop_.store(true);
  wake();
  thread_.join();
}

void IoThread::wake() noexcept {
  ring_eventfd(wake_.get());
}

void IoThread::run(const std::function<void()>& task) {
  if (std::this_thread::get_id() == thread_.get_id()) return task();
  Task entry([&task] { task(); });
  post(entry);
  wait(entry);
}

void IoThread::post(Task& task) {
  const std::lock_guard lock(mutex_);
  GODWIT_CHECK(!task.pending_, "a task given to its thread twice");
  task.pending_ = true;
  tasks_.push_back(&task);
  wake();
}

void IoThread::wait(Task& task) {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return !task.pending_; });
}

void IoThread::run_tasks() {
  std::unique_lock lock(mutex_);
  while (!tasks_.empty()) {
    Task* const task = tasks_.front();
    tasks_.erase(tasks_.begin());
    lock.unlock();
    task->call_();
    lock.lock();
    task->pending_ = false;
    done_.notify_all();
  }
}

void IoThread::watch(int fd, std::function<void()> ready) {
  const auto [it, added] =
      watched_.insert_or_assign(fd, std::make_shared<std::function<void()>>(std::move(ready)));
  if (!added) return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  check_syscall(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

void IoThread::unwatch(int fd) noexcept {
  if (watched_.erase(fd) == 0) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void IoThread::loop() {
  std::array<epoll_event, 16> events;
  for (;;) {
    const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (n < 0 && errno != EINTR) throw_errno("epoll_wait");
    for (int i = 0; i < n; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == wake_.get()) {
        drain_eventfd(fd);
        continue;
      }
      // It may have been unwatched by an earlier one of this round.
      const auto it = watched_.find(fd);
      if (it == watched_.end()) continue;
      const auto ready = it->second;
      (*ready)();
    }
    run_tasks();
    if (stop_.load()) return run_tasks();
  }
}

}  // namespace godwit::devices
