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

// What is there before an arriving guest's machine is made.
struct Arriving {
  std::unique_ptr<vmm::GuestMemory> memory;  // may be null
  devices::BoardDevices devices;
};

class KvmMachine final : public GuestMachine {
 public:
  // `events.guest` outlives the machine. `arriving`: for a guest that comes from elsewhere. Errors:
  // as Vm's and Board's.
  static Result<std::unique_ptr<KvmMachine>> create(const MachineConfig& config,
                                                    const MachineEvents& events,
                                                    std::optional<Arriving> arriving = {});
  ~KvmMachine() override;

  // Loads what the options name and puts the boot vCPU at its start.
  Result<> boot(const RunOptions& options);

  [[nodiscard]] std::string console() const override { return console_; }
  bool press_power_button() override { return board_->press_power_button(); }
  void shut_down(bool elsewhere) noexcept override;

  [[nodiscard]] vmm::MachineDescription describe() const override { return vm_->describe(); }
  [[nodiscard]] vmm::GuestMemory& memory() override { return vm_->memory(); }
  [[nodiscard]] vmm::DirtyTracker& dirty_tracker() override { return vm_->dirty_tracker(); }
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
  explicit KvmMachine(std::unique_ptr<vmm::Vm> vm) : vm_(std::move(vm)) {}
  std::unique_ptr<vmm::Vm> vm_;
  std::unique_ptr<devices::Board> board_;  // uses vm_, so it goes first
  std::string console_;
};

// Makes the machine for a guest that arrives.
class KvmMachineFactory final : public vmm::MachineFactory {
 public:
  // Makes the memory now if the options name its size. Errors: as GuestMemory::create.
  static Result<std::unique_ptr<KvmMachineFactory>> make(const ReceiveOptions& options,
                                                         MachineEvents events);
  Result<std::unique_ptr<vmm::Machine>> create(const vmm::MachineDescription& wanted) override;

 private:
  KvmMachineFactory(const ReceiveOptions& options, MachineEvents events)
      : options_(options), events_(std::move(events)) {}
  // What was made in advance, if it fits; otherwise it is given back to the host.
  std::unique_ptr<vmm::GuestMemory> take_prepared(ByteCount wanted);

  const ReceiveOptions& options_;
  MachineEvents events_;
  std::unique_ptr<vmm::GuestMemory> prepared_;
};

}  // namespace godwit::tools
