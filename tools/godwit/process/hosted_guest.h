// The guest of a VMM process: fresh, or received from another host; until it powers off, is
// stopped, faults, or has been sent to another host.
//
// A reset is a reboot in place: the machine is taken down and one like it is made and booted, all
// on the loop's thread, so that the API answers when it is done. A guest that is being sent when it
// resets stays: the migration is cancelled, as by a power-off, and the reboot follows. One that
// resets while it is paused stays paused, at its start. Three machines in a row that reset
// themselves within a second of their start end the process with an error.
//
// Threads: all decisions are made on the loop's thread; migrations run on one of their own; the
// guest's events come from vCPU threads.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "tools/godwit/api/event_loop.h"
#include "tools/godwit/api/guest.h"
#include "tools/godwit/process/ending.h"
#include "tools/godwit/process/engine.h"
#include "tools/godwit/process/guest_machine.h"
#include "tools/godwit/process/news_board.h"
#include "vmm/io/io_handler.h"

namespace godwit::tools {

// What follows when a guest resets itself.
struct Reboot {
  BootOptions boot;
  std::string refusal;  // why the guest ends instead; empty: it reboots
};

class HostedGuest final : public Guest, public vmm::GuestEvents {
 public:
  struct Config {
    std::string name;
    Reboot reboot;
    SenderFactory make_sender;
    // Called once, on the loop's thread, when the guest is over and its vCPUs are joined; open
    // API streams may still have to be told.
    std::function<void(const Ending&)> on_end;
  };
  // `loop` outlives the guest.
  HostedGuest(EventLoop& loop, Config config);
  // The loop no longer runs. Ends what still runs.
  ~HostedGuest() override;

  // A machine that is ready to run: lets it.
  void start(std::unique_ptr<GuestMachine> machine);
  // Waits for a guest and becomes its VMM. The receiver's factory makes GuestMachines.
  void receive(std::unique_ptr<Receiver> receiver, std::string listen);
  // The observer that the receiver is to be made with.
  Observer observer();
  // Ends the guest and then the process; the first call counts. Any migration is cancelled first,
  // unless it is too late for that.
  void end(Ending ending);

  // Guest. On the loop's thread.
  GuestInfo info() override;
  Result<> pause() override;
  Result<> resume(bool fenced) override;
  Result<> press_power_button() override;
  Result<> shut_down() override;
  Result<> resize_balloon(ByteCount memory) override;
  Result<> send_migration(const MigrationRequest& request) override;
  Result<> cancel_migration() override;
  MigrationNews migration() override { return news_.latest(); }
  void on_migration_change(std::function<void()> changed) override {
    news_.on_change(std::move(changed));
  }

  // GuestEvents and the fault handler. On any thread.
  void power_off() override;
  void reset() override;
  void debug_exit(uint32_t code) override;
  void fault(const std::string& text);

 private:
  // What the guest has done to itself: its first word counts.
  enum class Fate { kLives, kResets, kIsOver };
  // Whether it is the first word since the machine was made. Any thread.
  bool decide(Fate fate) noexcept;
  // Records, from any thread, that the guest itself is over.
  void guest_ended(Ending ending);
  // Once nobody else is in control of the machine, if it has reset itself; else nothing.
  void reboot();
  [[nodiscard]] bool resets_too_often();
  // Stops a migration in either direction as soon as it may be stopped. Any thread.
  void cancel_worker() noexcept;
  void sending_ended(const MigrationRequest& request);
  void receiving_ended();
  void settled(const std::optional<migration::MigrationResult>& figures);
  void adopt(std::unique_ptr<vmm::Machine> machine);
  void finish_end();
  // Takes what info() says of the machine: later, a migration's thread may be in control of it.
  void take_machine(std::unique_ptr<GuestMachine> machine);
  [[nodiscard]] Result<> expect_guest() const;
  // The guest is here and nobody else is in control of it.
  Result<> press_now();
  [[nodiscard]] bool migrating() const { return worker_.joinable(); }

  EventLoop& loop_;
  Config config_;
  NewsBoard news_;
  std::unique_ptr<GuestMachine> machine_;  // null while receiving
  GuestInfo description_;
  GuestState state_ = GuestState::kReceiving;
  std::string listen_;
  TimePoint started_ = now();
  std::optional<Ending> ending_;
  bool booted_here_ = false;
  int quick_resets_ = 0;          // one after the other
  bool press_when_back_ = false;  // the power button, once the migration is over
  bool ended_ = false;

  std::mutex worker_mutex_;  // guards the two pointers against cancel_worker()
  std::unique_ptr<Sender> sender_;
  std::unique_ptr<Receiver> receiver_;
  // After the arrival, until the source is known to know of it.
  std::unique_ptr<Receiver> answering_;
  uint64_t arrival_news_ = 0;
  std::atomic<Fate> fate_{Fate::kLives};
  migration::MigrationResult sent_;   // handed from the worker to the loop
  migration::TargetResult received_;  // likewise
  std::jthread worker_;
};

}  // namespace godwit::tools
