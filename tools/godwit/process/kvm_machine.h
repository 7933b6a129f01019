// A GuestMachine on KVM: Vm and Board.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "devices/board.h"
#include "tools/godwit/process/guest_machine.h"
#include "tools/godwit/process/options.h"
#include "vmm/io/io_handler.h"
#include "vmm/vm.h"

namespace godwit::tools {

// What happens in the guest, on vCPU threads.
struct MachineEvents {
  vmm::GuestEvents& guest;
  std::function<void(const std::string&)> fault;
};

struct MachineConfig {
  vmm::VmConfig vm;
  std::string console;           // as devices::parse_console takes it
  devices::BoardConfig devices;  // beside the console
};

// What is there before a machine is made; what is not is made with it.
struct MachineParts {
  std::unique_ptr<vmm::GuestMemory> memory;
  std::optional<devices::BoardDevices> devices;
  std::optional<std::vector<devices::NetPort>> nets;  // without devices: for those
  std::unique_ptr<devices::ConsoleBackend> console;
  bool arriving = false;  // the guest still runs elsewhere
};

class KvmMachine final : public GuestMachine {
 public:
  // `events.guest` outlives the machine. Errors: as Vm's and Board's.
  static Result<std::unique_ptr<KvmMachine>> create(const MachineConfig& config,
                                                    const MachineEvents& events,
                                                    MachineParts parts = {});
  ~KvmMachine() override;

  // Loads what the options name and puts the boot vCPU at its start.
  Result<> boot(const BootOptions& options);

  [[nodiscard]] std::string console() const override { return console_; }
  bool press_power_button() override { return board_->press_power_button(); }
  Result<std::unique_ptr<GuestMachine>> reboot(const BootOptions& boot) override;
  void describe_devices(GuestInfo& info) override;
  Result<> resize_balloon(ByteCount memory) override;
  void shut_down(bool elsewhere) noexcept override;

  [[nodiscard]] vmm::MachineDescription describe() const override { return vm_->describe(); }
  [[nodiscard]] vmm::GuestMemory& memory() override { return vm_->memory(); }
  [[nodiscard]] vmm::DirtyTracker& dirty_tracker() override { return vm_->dirty_tracker(); }
  [[nodiscard]] vmm::FreePageHints* free_page_hints() override {
    return board_ ? board_->free_page_hints() : nullptr;
  }
  [[nodiscard]] std::vector<vmm::StorageVolume*> volumes() override {
    return board_ ? board_->volumes() : std::vector<vmm::StorageVolume*>();
  }
  vmm::PauseTimes pause() override { return vm_->pause(); }
  void resume() override { vm_->resume(); }
  [[nodiscard]] bool running() const override { return vm_->running(); }
  void release() override { vm_->release(); }
  void save(ByteWriter& out) override { vm_->save(out); }
  Result<> load(std::span<const std::byte> state,
                std::optional<Nanoseconds> clock_offset) override {
    return vm_->load(state, clock_offset);
  }
  std::optional<TimePoint> wait_first_entry(Nanoseconds limit) override {
    return vm_->wait_first_entry(limit);
  }

 private:
  [[nodiscard]] std::optional<BalloonInfo> balloon();
  KvmMachine(MachineConfig config, MachineEvents events, std::unique_ptr<vmm::Vm> vm)
      : config_(std::move(config)), events_(std::move(events)), vm_(std::move(vm)) {}

  const MachineConfig config_;
  const MachineEvents events_;
  std::unique_ptr<vmm::Vm> vm_;
  std::unique_ptr<devices::Board> board_;  // uses vm_, so it goes first
  std::string console_;
};

// Makes the machine for a guest that arrives.
class KvmMachineFactory final : public vmm::MachineFactory {
 public:
  // Makes the memory now if the options name its size, and opens the network interfaces. Errors: as
  // GuestMemory::create and BoardDevices::open.
  static Result<std::unique_ptr<KvmMachineFactory>> make(const ReceiveOptions& options,
                                                         MachineEvents events);
  Result<std::unique_ptr<vmm::Machine>> create(const vmm::MachineDescription& wanted) override;

 private:
  KvmMachineFactory(const ReceiveOptions& options, MachineEvents events)
      : options_(options), events_(std::move(events)) {}
  // Errors: this host could not give so much memory.
  Result<> expect_room(ByteCount wanted) const;
  // What was made in advance, if it fits; otherwise it is given back to the host.
  std::unique_ptr<vmm::GuestMemory> take_prepared(ByteCount wanted);

  const ReceiveOptions& options_;
  MachineEvents events_;
  std::unique_ptr<vmm::GuestMemory> prepared_;
  // Open from the beginning, and at the next attempt too: others may have built on them.
  std::vector<devices::NetPort> nets_;
};

}  // namespace godwit::tools
