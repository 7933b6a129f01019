// All that migration may see of a guest. Implemented by Vm (on KVM) and, for tests of the engine,
// by a fake.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/free_page_hints.h"
#include "vmm/memory/dirty_tracker.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/state/sections.h"
#include "vmm/storage.h"

namespace godwit::vmm {

// A device that the guest has: the target must have the same ones.
struct DeviceDescription {
  std::string type;
  uint32_t instance = 0;
  uint16_t state_version = 1;
  std::string traits;  // Device::traits()
  auto operator<=>(const DeviceDescription&) const = default;
};

// What must be known before a machine can be made that takes this guest over. `cpu` is opaque here
// (encoded by the architecture's own code: CPUID, MSRs, XCR0, TSC frequency).
struct MachineDescription {
  std::string arch;  // "x86_64"
  ByteCount memory_size;
  uint32_t vcpus = 1;
  std::vector<DeviceDescription> devices;
  std::vector<std::byte> cpu;
  // Random, made when the guest first boots and kept wherever it goes: by it the lock of a disk
  // knows its own guest. 0: has none.
  uint64_t guest_id = 0;
  // The disks whose content comes along. All others are where both sides reach them.
  std::vector<VolumeDescription> volumes;
};
void encode(const MachineDescription& description, ByteWriter& out);
Result<MachineDescription> decode_machine_description(ByteReader& in);

// When the parts of a pause were done.
struct PauseTimes {
  TimePoint requested;  // before the first vCPU was kicked
  TimePoint stopped;    // the last vCPU is out of guest code
  TimePoint quiesced;   // devices are quiet as well
};

// Threads: one controlling thread at a time, unless said otherwise.
class Machine {
 public:
  virtual ~Machine() = default;

  [[nodiscard]] virtual MachineDescription describe() const = 0;
  [[nodiscard]] virtual GuestMemory& memory() = 0;
  [[nodiscard]] virtual DirtyTracker& dirty_tracker() = 0;
  // Null: nothing here tells which pages the guest does not use.
  [[nodiscard]] virtual FreePageHints* free_page_hints() { return nullptr; }
  // The disks that are this host's own, so that they can only move by being copied. They live as
  // long as the machine.
  [[nodiscard]] virtual std::vector<StorageVolume*> volumes() { return {}; }

  // Stops every vCPU outside guest code with its last exit completed, then quiesces the devices.
  // A machine that is paused stays so and the times are those of this call.
  virtual PauseTimes pause() = 0;
  // Lets devices and vCPUs go on. Harmless when running.
  virtual void resume() = 0;
  [[nodiscard]] virtual bool running() const = 0;

  // The complete state beside memory, while paused. May write guest memory (and marks it dirty),
  // so the final harvest comes after it. `out` is appended to, as sections.
  virtual void save(ByteWriter& out) = 0;
  // Loads a saved state into a machine that has never run, any number of times; the last one
  // counts. The bytes come from a peer: every one is checked; on error the machine must not run.
  // Guest time goes on by what has passed since the saving. `clock_offset`, this host's
  // CLOCK_MONOTONIC minus the saving host's, tells how much that is, whatever the wall clocks of
  // the two say; without it (a state from a file) CLOCK_REALTIME has to.
  virtual Result<> load(std::span<const std::byte> state,
                        std::optional<Nanoseconds> clock_offset) = 0;

  // The guest is about to go on elsewhere: its devices give up what only one side may have. Only
  // while paused; resume() takes it back, if the guest stays after all.
  virtual void release() {}

  // The moment just before the first vCPU entered guest code after the last resume(). Waits for
  // it, at most `limit`.
  virtual std::optional<TimePoint> wait_first_entry(Nanoseconds limit) = 0;
};

// Makes the machine that receives a guest.
class MachineFactory {
 public:
  virtual ~MachineFactory() = default;
  // Compares the description with this host and builds a machine for it that has never run.
  // Errors: kIncompatible with each difference that matters, one per line; kExhausted.
  virtual Result<std::unique_ptr<Machine>> create(const MachineDescription& description) = 0;
};

}  // namespace godwit::vmm
