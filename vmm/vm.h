// A virtual machine on KVM: guest memory, vCPUs on threads of their own, the in-kernel interrupt
// controllers and timer, and the buses that devices hang on.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmm/boot/boot_entry.h"
#include "vmm/io/device.h"
#include "vmm/io/io_bus.h"
#include "vmm/io/io_handler.h"
#include "vmm/machine.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::vmm {

enum class DirtyTracking { kAuto, kLog, kRing };
enum class CpuModel { kHost, kX86_64_v2, kX86_64_v3 };

inline constexpr uint32_t kMaxVcpus = 64;

struct VmConfig {
  MemoryConfig memory;
  uint32_t vcpus = 1;  // 1 to kMaxVcpus and to what the host allows
  DirtyTracking dirty_tracking = DirtyTracking::kAuto;
  CpuModel cpu_model = CpuModel::kHost;
  // For a fresh guest: this CPU instead of cpu_model; opaque as MachineDescription::cpu.
  std::vector<std::byte> cpu_baseline;
  // For a fresh guest: features to take away from its CPU, by name.
  std::vector<std::string> cpu_without;
  // For a machine that receives a guest: exactly this CPU instead of cpu_model.
  std::vector<std::byte> cpu;
  // What the guest is known by wherever it goes; see MachineDescription.
  uint64_t guest_id = 0;
};

// Order of use: create(); attach devices; start_at() for a fresh guest or load() for one that
// arrives; resume(). Threads: as Machine says; the buses see every vCPU's thread.
class Vm final : public Machine {
 public:
  // Errors: kUnsupported (what KVM here cannot do, by name), kInvalidArgument, kIncompatible (a
  // given `cpu` that this host cannot run, each difference on a line), kExhausted.
  // `memory`: made earlier, as config.memory says; without it, it is made here.
  static Result<std::unique_ptr<Vm>> create(const VmConfig& config,
                                            std::unique_ptr<GuestMemory> memory = nullptr);
  ~Vm() override;

  [[nodiscard]] IoBus& port_bus();
  [[nodiscard]] IoBus& mmio_bus();
  // An input of the interrupt controllers (0..23).
  [[nodiscard]] std::unique_ptr<IrqLine> irq_line(uint32_t gsi);
  [[nodiscard]] std::unique_ptr<MsiSink> msi_sink();
  [[nodiscard]] std::unique_ptr<Doorbells> doorbells();
  // Devices are saved and loaded in the order in which they were added. Owned by the caller
  // (the board) and outlived by it.
  void add_device(Device& device);
  // Told of a triple fault (as reset) too. Must be set before resume().
  void set_events(GuestEvents& events);
  // Called, on a vCPU's thread, when that vCPU cannot go on (KVM internal error, access that no
  // hardware would make): the VM is stopped; the text says what, where and with which registers.
  void set_fault_handler(std::function<void(const std::string&)> handler);

  // Puts the boot vCPU at the entry point; the others wait for INIT/SIPI.
  Result<> start_at(const BootEntry& entry);

  // Stops all vCPUs for good and joins their threads. Called by the destructor too.
  void shut_down() noexcept;

  MachineDescription describe() const override;
  GuestMemory& memory() override;
  DirtyTracker& dirty_tracker() override;
  PauseTimes pause() override;
  void resume() override;
  bool running() const override;
  void release() override;
  void save(ByteWriter& out) override;
  Result<> load(std::span<const std::byte> state, std::optional<Nanoseconds> clock_offset) override;
  std::optional<TimePoint> wait_first_entry(Nanoseconds limit) override;

 private:
  class Impl;
  explicit Vm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::vmm
