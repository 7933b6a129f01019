// A request to stop that reaches whoever is waiting for something just now.
#pragma once
#include <functional>
#include <mutex>
#include <utility>

namespace godwit::migration {

// Sticky: once cancelled, for good. All members may be called from any thread.
class Cancellation {
 public:
  // While a Scope lives, cancel() calls `interrupt` (from the cancelling thread; it must not block
  // nor use this object). A scope made too late is interrupted at once. One scope at a time.
  class Scope {
   public:
    Scope(Cancellation& cancellation, std::function<void()> interrupt)
        : cancellation_(cancellation) {
      const std::lock_guard lock(cancellation_.mutex_);
      if (cancellation_.cancelled_) interrupt();
      cancellation_.interrupt_ = std::move(interrupt);
    }
    ~Scope() {
      const std::lock_guard lock(cancellation_.mutex_);
      cancellation_.interrupt_ = nullptr;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Cancellation& cancellation_;
  };

  void cancel() noexcept {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    if (interrupt_) interrupt_();
  }
  [[nodiscard]] bool cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }

 private:
  mutable std::mutex mutex_;
  bool cancelled_ = false;
  std::function<void()> interrupt_;
};

}  // namespace godwit::migration
