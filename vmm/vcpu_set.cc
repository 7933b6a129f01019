#include "vmm/vcpu_set.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "vmm/base/check.h"

namespace godwit::vmm {
namespace {

// Its only purpose is to make KVM_RUN return; a real-time signal that nothing else here uses.
int kick_signal() {
  return SIGRTMIN + 1;
}

void install_kick_handler() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigemptyset(&action.sa_mask);
    GODWIT_CHECK(::sigaction(kick_signal(), &action, nullptr) == 0, "sigaction");
    return true;
  }();
  (void)installed;
}

// A vCPU's thread takes the kick and its own faults; everything else belongs to other threads.
void set_signal_mask() {
  sigset_t mask;
  sigfillset(&mask);
  for (const int number : {kick_signal(), SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) {
    sigdelset(&mask, number);
  }
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
}

}  // namespace

VcpuSet::VcpuSet(std::span<const std::unique_ptr<KvmVcpu>> vcpus, VcpuEvents& events)
    : events_(events) {
  install_kick_handler();
  for (const auto& vcpu : vcpus) {
    auto& self = *threads_.emplace_back(std::make_unique<Thread>());
    self.vcpu = vcpu.get();
  }
  for (auto& self : threads_) {
    self->thread = std::jthread([this, thread = self.get()] { thread_main(*thread); });
    self->handle = self->thread.native_handle();
  }
  std::unique_lock lock(mutex_);
  parked_cv_.wait(lock, [this] { return parked_ == threads_.size(); });
}

VcpuSet::~VcpuSet() {
  shut_down();
}

// No kick is lost. The one who wants something sets interrupted_, then immediate_exit, then sends
// the signal. The vCPU's thread clears immediate_exit, then reads interrupted_, then calls KVM_RUN.
// - Cleared after it was set: interrupted_ was set before, so the thread sees it (all of these are
//   sequentially consistent) and does not enter.
// - Cleared before it was set: it is still set at KVM_RUN, which then returns at once; or KVM_RUN
//   has read it already, and then the signal comes while the thread is in KVM_RUN, which ends it.
// A signal that comes late, after the thread has parked or gone on, costs one -EINTR.
void VcpuSet::interrupt_locked() {
  interrupted_.store(true, std::memory_order_seq_cst);
  for (const auto& thread : threads_) {
    if (thread->parked) continue;
    thread->vcpu->set_immediate_exit(true);
    pthread_kill(thread->handle, kick_signal());
  }
}

TimePoint VcpuSet::pause() {
  std::unique_lock lock(mutex_);
  if (pause_wanted_ && parked_ == threads_.size()) return now();
  running_.store(false, std::memory_order_release);
  pause_wanted_ = true;
  interrupt_locked();
  parked_cv_.wait(lock, [this] { return parked_ == threads_.size(); });
  return last_parked_;
}

void VcpuSet::resume() {
  {
    const std::lock_guard lock(mutex_);
    if (!pause_wanted_ || stop_wanted_ || faulted_) return;
    pause_wanted_ = false;
    first_entry_.reset();
    entry_wanted_.store(true, std::memory_order_release);
    interrupted_.store(false, std::memory_order_seq_cst);
    running_.store(true, std::memory_order_release);
  }
  run_cv_.notify_all();
}

std::optional<TimePoint> VcpuSet::wait_first_entry(Nanoseconds limit) {
  std::unique_lock lock(mutex_);
  entry_cv_.wait_for(lock, limit, [this] { return first_entry_.has_value(); });
  return first_entry_;
}

void VcpuSet::shut_down() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stop_wanted_ = true;
    pause_wanted_ = true;
    running_.store(false, std::memory_order_release);
    interrupt_locked();
  }
  run_cv_.notify_all();
  for (const auto& thread : threads_) {
    if (thread->thread.joinable()) thread->thread.join();
  }
}

void VcpuSet::thread_main(Thread& self) {
  set_signal_mask();
  pthread_setname_np(pthread_self(), ("vcpu" + std::to_string(self.vcpu->index())).c_str());
  bool first = true;
  while (park(self)) {
    if (!first) events_.before_entry(*self.vcpu);
    first = false;
    announce_entry();
    run_until_interrupted(self);
    complete_last_exit(self);
  }
}

bool VcpuSet::park(Thread& self) {
  std::unique_lock lock(mutex_);
  self.parked = true;
  if (++parked_ == threads_.size()) {
    last_parked_ = now();
    parked_cv_.notify_all();
  }
  for (;;) {
    run_cv_.wait(lock,
                 [&] { return stop_wanted_ || self.has_task || (!pause_wanted_ && !self.dead); });
    if (!self.has_task) break;
    do_task(self, lock);
  }
  if (stop_wanted_) return false;  // stays parked: nobody kicks or waits for it any more
  --parked_;
  self.parked = false;
  return true;
}

void VcpuSet::do_task(Thread& self, std::unique_lock<std::mutex>& lock) {
  self.has_task = false;
  const auto& task = *task_;
  lock.unlock();
  std::exception_ptr error;
  try {
    task(self.vcpu->index());
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  if (error && !task_error_) task_error_ = error;
  if (--tasks_left_ == 0) task_cv_.notify_all();
}

void VcpuSet::run_on_each(const std::function<void(size_t)>& task) {
  std::unique_lock lock(mutex_);
  GODWIT_CHECK(pause_wanted_ && parked_ == threads_.size(), "a task for vCPUs that are not paused");
  if (stop_wanted_) {  // the threads have ended
    for (size_t i = 0; i < threads_.size(); ++i) task(i);
    return;
  }
  task_ = &task;
  task_error_ = nullptr;
  tasks_left_ = threads_.size();
  for (const auto& thread : threads_) thread->has_task = true;
  run_cv_.notify_all();
  task_cv_.wait(lock, [this] { return tasks_left_ == 0; });
  task_ = nullptr;
  if (task_error_) std::rethrow_exception(std::exchange(task_error_, nullptr));
}

void VcpuSet::announce_entry() {
  if (!entry_wanted_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mutex_);
  if (first_entry_ || !entry_wanted_.load(std::memory_order_relaxed)) return;
  entry_wanted_.store(false, std::memory_order_relaxed);
  // Waking the waiter takes longer than all the rest here: the time is taken behind it, and the
  // waiter comes to see it when the lock is free.
  entry_cv_.notify_all();
  first_entry_ = now();
}

void VcpuSet::run_until_interrupted(Thread& self) {
  for (;;) {
    self.vcpu->set_immediate_exit(false);
    if (interrupted_.load(std::memory_order_seq_cst)) return;
    const int result = self.vcpu->enter();
    if (result == -EINTR) continue;
    if (!handle(self, result)) return;
  }
}

// KVM finishes an instruction that needed an exit (stores what was read, moves RIP on) at the next
// KVM_RUN, and with immediate_exit it does only that (api.rst, KVM_RUN). One access may come as
// several exits, so until it says -EINTR.
void VcpuSet::complete_last_exit(Thread& self) {
  {
    const std::lock_guard lock(mutex_);
    if (self.dead) return;
  }
  self.vcpu->set_immediate_exit(true);
  for (;;) {
    const int result = self.vcpu->enter();
    // -EAGAIN comes from a vCPU that waits for INIT or SIPI: it has nothing to finish.
    if (result == -EINTR || result == -EAGAIN) return;
    if (!handle(self, result)) return;
  }
}

bool VcpuSet::handle(Thread& self, int result) {
  const VcpuEvents::Outcome outcome = events_.handle_exit(*self.vcpu, result);
  if (outcome.go_on) return true;
  if (outcome.fault.empty()) {
    const std::lock_guard lock(mutex_);
    self.dead = true;
    return false;
  }
  stop_everyone_for(self);
  events_.fault(outcome.fault);
  return false;
}

void VcpuSet::stop_everyone_for(Thread& culprit) {
  const std::lock_guard lock(mutex_);
  culprit.dead = true;
  faulted_ = true;
  pause_wanted_ = true;
  running_.store(false, std::memory_order_release);
  interrupt_locked();
}

}  // namespace godwit::vmm
