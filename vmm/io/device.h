// The seam between machine and devices. A device that cannot be saved cannot be added: save() and
// load() are pure virtual on purpose.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"

namespace godwit::vmm {

inline constexpr uint32_t kMaxTraits = 1024;

class Device {
 public:
  virtual ~Device() = default;
  // The type of its state section, e.g. "serial-16550". Part of the wire: never changes.
  [[nodiscard]] virtual std::string_view type() const = 0;
  [[nodiscard]] virtual uint32_t instance() const { return 0; }
  [[nodiscard]] virtual uint16_t state_version() const { return 1; }
  // What the guest sees of it and the state does not bring along, as "key=value;key=value": a
  // target's must be the same, and errors name the key. At most kMaxTraits bytes.
  [[nodiscard]] virtual std::string traits() const { return {}; }
  // quiesce() is about to be called: sets it going and returns at once, so that devices become
  // quiet side by side, and while the vCPUs are on their way out. They may still use the device.
  virtual void start_quiesce() {}
  // Stops all activity of its own (backends, threads, timers), so that nothing changes guest memory
  // or its state until resume(). vCPUs are already paused. Idempotent.
  virtual void quiesce() {}
  // Goes on, also after load(): re-raises what was pending. What belongs to threads of the device
  // may come a little later.
  virtual void resume() {}
  // The guest is about to go on elsewhere: gives up what only one of the two may have (the lock of
  // a disk). Only while quiesced. resume() takes it back, if the guest stays after all.
  virtual void release() {}
  // Writes the complete state. Only while quiesced.
  virtual void save(ByteWriter& out) const = 0;
  // Replaces the state; the bytes may be anything: they are checked in full before anything is
  // changed. `version` is at most state_version(). May be called again (a rehearsal). Must leave no
  // trace outside the device (no interrupt, no output) before resume().
  virtual Result<> load(ByteReader& in, uint16_t version) = 0;
};

}  // namespace godwit::vmm
