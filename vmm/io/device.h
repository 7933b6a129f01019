// The seam between machine and devices. A device that cannot be saved cannot be added: save() and
// load() are pure virtual on purpose.
#pragma once
#include <cstdint>
#include <string_view>

#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"

namespace godwit::vmm {

class Device {
 public:
  virtual ~Device() = default;
  // The type of its state section, e.g. "serial-16550". Part of the wire: never changes.
  [[nodiscard]] virtual std::string_view type() const = 0;
  [[nodiscard]] virtual uint32_t instance() const { return 0; }
  [[nodiscard]] virtual uint16_t state_version() const { return 1; }
  // Stops all activity of its own (backends, threads, timers), so that nothing changes guest memory
  // or its state until resume(). vCPUs are already paused. Idempotent.
  virtual void quiesce() {}
  // Goes on, also after load(): re-raises what was pending.
  virtual void resume() {}
  // Writes the complete state. Only while quiesced.
  virtual void save(ByteWriter& out) const = 0;
  // Replaces the state; the bytes may be anything: they are checked in full before anything is
  // changed. `version` is at most state_version(). May be called again (a rehearsal). Must leave no
  // trace outside the device (no interrupt, no output) before resume().
  virtual Result<> load(ByteReader& in, uint16_t version) = 0;
};

}  // namespace godwit::vmm
