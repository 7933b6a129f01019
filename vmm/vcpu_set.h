// The vCPUs of a VM, each on a thread of its own: start, stop, and the way between.
#pragma once
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "vmm/base/clock.h"
#include "vmm/kvm/vcpu.h"

namespace godwit::vmm {

// What the threads call.
class VcpuEvents {
 public:
  virtual ~VcpuEvents() = default;
  struct Outcome {
    // Whether the vCPU may enter the guest again.
    bool go_on = true;
    // Why it cannot: the VM is stopped and the text reported. Empty: it ended in an orderly way.
    std::string fault;
  };
  // After KVM_RUN: `result` is 0 with an exit in the vCPU's kvm_run, or -errno (never -EINTR).
  virtual Outcome handle_exit(KvmVcpu& vcpu, int result) = 0;
  // Before the first entry after a pause.
  virtual void before_entry(KvmVcpu& vcpu) noexcept = 0;
  virtual void fault(const std::string& text) = 0;
};

// Threads: one controlling thread; pause(), resume() and shut_down() not from a vCPU's thread.
class VcpuSet {
 public:
  // All vCPUs wait until resume(). `vcpus` and `events` outlive the set.
  VcpuSet(std::span<const std::unique_ptr<KvmVcpu>> vcpus, VcpuEvents& events);
  ~VcpuSet();

  // Stops every vCPU with its last exit completed, so that its registers are those between two
  // instructions. Returns when the last one was out.
  TimePoint pause();
  void resume();
  [[nodiscard]] bool running() const { return running_.load(std::memory_order_acquire); }
  // Calls task(i) for each vCPU i on that vCPU's own thread, all at once, while paused. What a task
  // throws is thrown here after all have ended. The vCPU ioctls of many vCPUs so take the time of
  // one, and KVM need not move a vCPU between CPUs.
  void run_on_each(const std::function<void(size_t)>& task);
  // See Machine::wait_first_entry.
  std::optional<TimePoint> wait_first_entry(Nanoseconds limit);
  // Ends all threads. Idempotent.
  void shut_down() noexcept;

 private:
  struct Thread {
    KvmVcpu* vcpu = nullptr;
    pthread_t handle{};
    bool parked = false;    // under mutex_
    bool dead = false;      // under mutex_: must not enter the guest again
    bool has_task = false;  // under mutex_
    std::jthread thread;
  };
  void thread_main(Thread& self);
  // Waits until the set runs; false at the end.
  bool park(Thread& self);
  void announce_entry();
  void run_until_interrupted(Thread& self);
  void complete_last_exit(Thread& self);
  void do_task(Thread& self, std::unique_lock<std::mutex>& lock);
  // Whether the vCPU may go on.
  bool handle(Thread& self, int result);
  void stop_everyone_for(Thread& culprit);
  void interrupt_locked();

  VcpuEvents& events_;
  std::mutex mutex_;
  std::condition_variable parked_cv_;  // a vCPU has parked
  std::condition_variable run_cv_;     // there is something to do for parked ones
  std::condition_variable entry_cv_;
  std::condition_variable task_cv_;  // all tasks are done
  std::vector<std::unique_ptr<Thread>> threads_;
  size_t parked_ = 0;
  const std::function<void(size_t)>* task_ = nullptr;
  size_t tasks_left_ = 0;
  std::exception_ptr task_error_;
  bool pause_wanted_ = true;
  bool stop_wanted_ = false;
  bool faulted_ = false;
  TimePoint last_parked_{};
  std::optional<TimePoint> first_entry_;
  // Copies for the threads' fast path: something is wanted of them.
  std::atomic<bool> interrupted_{true};
  std::atomic<bool> entry_wanted_{false};
  std::atomic<bool> running_{false};
};

}  // namespace godwit::vmm
