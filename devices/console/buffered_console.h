// A console backend with a bounded output buffer and one thread that serves an endpoint.
#pragma once
#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "devices/console/byte_ring.h"
#include "devices/console/console.h"
#include "devices/console/endpoint.h"
#include "vmm/base/fd.h"

namespace godwit::devices {

class BufferedConsole final : public ConsoleBackend {
 public:
  // Throws std::system_error when the host gives no eventfd.
  explicit BufferedConsole(std::unique_ptr<ConsoleEndpoint> endpoint,
                           Nanoseconds stall_limit = kConsoleStallLimit);
  ~BufferedConsole() override;

  void attach(ConsoleClient& client) override;
  void detach() noexcept override;
  size_t write(std::span<const std::byte> bytes) override;
  void set_input_wanted(bool wanted) override;
  void quiesce() override;
  void resume() override;
  void save_output(ByteWriter& out) const override;
  void load_output(std::span<const std::byte> bytes) override;
  void shut_down(Unsent unsent) noexcept override;
  [[nodiscard]] std::string path() const override { return endpoint_->path(); }
  [[nodiscard]] ConsoleCounters counters() const override;

 private:
  using Lock = std::unique_lock<std::mutex>;
  void run();
  // Polls without the lock. The flags say what the endpoint is ready for.
  ConsoleEndpoint::Ready wait_for_events(Lock& lock);
  void receive_input(Lock& lock);
  void send_output(Lock& lock);
  void give_up_when_stalled(Lock& lock);
  void tell_room(Lock& lock);
  void drain(Lock& lock);
  void wake_locked();

  const std::unique_ptr<ConsoleEndpoint> endpoint_;
  const Nanoseconds stall_limit_;
  UniqueFd wake_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;       // paused_, detaching_, working_ or stopping_
  ByteRing output_{kConsoleOutputBytes};  // guest-controlled
  ConsoleClient* client_ = nullptr;
  ConsoleCounters counters_;
  bool input_wanted_ = true;
  bool output_wanted_ = false;  // a write was cut short
  bool stalled_ = false;        // output is dropped until the other end moves
  TimePoint stall_deadline_{};  // while output_wanted_
  bool paused_ = true;
  bool working_ = false;    // the thread moves bytes or calls the client
  bool sleeping_ = false;   // the thread is in poll()
  bool woken_ = false;      // the eventfd is set
  bool detaching_ = false;  // somebody waits for working_ to end
  bool stopping_ = false;
  bool drain_ = false;

  std::jthread thread_;  // last: starts when all else is there
};

// Swallows output, has no input, needs no thread.
class NullConsole final : public ConsoleBackend {
 public:
  void attach(ConsoleClient&) override {}
  void detach() noexcept override {}
  size_t write(std::span<const std::byte> bytes) override { return bytes.size(); }
  void set_input_wanted(bool) override {}
  void quiesce() override {}
  void resume() override {}
  void save_output(ByteWriter& out) const override { out.blob({}); }
  void load_output(std::span<const std::byte>) override {}
  void shut_down(Unsent) noexcept override {}
  [[nodiscard]] std::string path() const override { return {}; }
  [[nodiscard]] ConsoleCounters counters() const override { return {}; }
};

}  // namespace godwit::devices
