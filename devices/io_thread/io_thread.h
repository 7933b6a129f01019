// A thread that waits for descriptors and runs what belongs to them.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "vmm/base/fd.h"

namespace godwit::devices {

// Everything that is given to it runs on its thread, one at a time: what is only touched there
// needs no lock. Threads: run(), post() and wait() from any; the rest on the thread itself, or
// before anything was watched.
class IoThread {
 public:
  // Something to be done on the thread, which can be given to it again and again. Must not throw.
  class Task {
   public:
    explicit Task(std::function<void()> call) : call_(std::move(call)) {}

   private:
    friend class IoThread;
    std::function<void()> call_;
    bool pending_ = false;  // under mutex_
  };

  // Throws std::system_error when the host gives no descriptors. `name`: as ps and top show it, at
  // most 15 bytes.
  explicit IoThread(const std::string& name);
  // Joins the thread; what it was given before has been done.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  // Does `task` and returns when it is done; at once when called on the thread itself. The task
  // must not throw, and the caller may hold no lock that it takes.
  void run(const std::function<void()>& task);

  // Has `task` done after what was given before, and returns at once. It outlives that, and is not
  // pending already.
  void post(Task& task);
  // Until `task` is not pending: at once when it never was. Not on the thread itself.
  void wait(Task& task);

  // `ready` is called whenever the descriptor is readable (level-triggered) until unwatch().
  // Replaces an earlier one.
  void watch(int fd, std::function<void()> ready);
  void unwatch(int fd) noexcept;

 private:
  void loop();
  void wake() noexcept;
  void run_tasks();

  UniqueFd epoll_;
  UniqueFd wake_;
  // By descriptor; shared, so that a callback may unwatch itself.
  std::map<int, std::shared_ptr<std::function<void()>>> watched_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::vector<Task*> tasks_;
  std::atomic<bool> stop_{false};
  std::jthread thread_;  // last: it uses the others
};

// Reads an eventfd to zero.
void drain_eventfd(int fd) noexcept;
// Adds one to an eventfd.
void ring_eventfd(int fd) noexcept;
// A new one, non-blocking. Throws std::system_error.
UniqueFd make_eventfd();

}  // namespace godwit::devices
