// A virtio device without its transport, and what the transport offers it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/io_thread/io_thread.h"
#include "devices/virtio/queue.h"
#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"

namespace godwit::devices::virtio {

// Threads: a queue belongs to its thread; config_changed() and broken() from any.
class Transport {
 public:
  virtual ~Transport() = default;
  [[nodiscard]] virtual vmm::GuestMemory& memory() = 0;
  // Not started while the driver has not set it up.
  [[nodiscard]] virtual Queue& queue(uint16_t index) = 0;
  [[nodiscard]] virtual IoThread& thread(unsigned index) = 0;
  // Shows the driver what was pushed and interrupts it if it wants that.
  virtual void flush(uint16_t queue) = 0;
  // The device's configuration reads differently now.
  virtual void config_changed() = 0;
  // The driver broke the rules: nothing works before it resets the device. Logged once.
  virtual void broken(std::string_view why) = 0;
};

// Life: start() when the driver is ready, or after load() of a state in which it was; resume() when
// the guest runs and after each start() of a running guest; notified() as requests come; quiesce()
// ... resume() around a pause; stop() when the driver resets the device. Each of these once for
// every thread, on that thread.
class Model {
 public:
  virtual ~Model() = default;
  // Of the state section: "virtio-blk".
  [[nodiscard]] virtual std::string_view type() const = 0;
  [[nodiscard]] virtual uint16_t device_id() const = 0;   // spec.h
  [[nodiscard]] virtual uint32_t class_code() const = 0;  // of PCI
  [[nodiscard]] virtual uint16_t state_version() const { return 1; }
  // As vmm::Device::traits().
  [[nodiscard]] virtual std::string traits() const { return {}; }
  // The device's own features, without those of spec.h.
  [[nodiscard]] virtual uint64_t features() const = 0;
  // The largest size of each queue, a power of two.
  [[nodiscard]] virtual std::vector<uint16_t> queue_sizes() const = 0;
  [[nodiscard]] virtual unsigned threads() const { return 1; }
  [[nodiscard]] virtual unsigned thread_of(uint16_t queue) const { return queue % threads(); }

  // The device's configuration; any vCPU's thread. Any offset and size: what is outside reads as
  // zero.
  virtual void read_config(uint32_t offset, std::span<std::byte> data) const = 0;
  virtual void write_config(uint32_t, std::span<const std::byte>) {}

  virtual void start(Transport& transport, uint64_t features, unsigned thread) = 0;
  // Nothing that was begun may touch guest memory afterwards.
  virtual void stop(unsigned thread) = 0;
  // Requests may have come.
  virtual void notified(uint16_t queue) = 0;
  // What was begun is finished, pushed and flushed; nothing new is begun before resume(). Called
  // for devices without a driver too.
  virtual void quiesce(unsigned) {}
  virtual void resume(unsigned) {}
  // The machine is being made for this guest; `arriving`: it still runs elsewhere. Takes what only
  // one guest may have at a time, as far as an arriving one may. Errors: somebody else has it.
  virtual Result<> admit(uint64_t guest_id, bool arriving) {
    (void)guest_id, (void)arriving;
    return {};
  }
  // As vmm::Device::release(); the controlling thread.
  virtual void release() {}
  // Before each resume(): takes back what release() gave, or takes over what admit() left to the
  // other side. The controlling thread.
  virtual void reclaim() {}
  // The machine ends; quiesced or not. `elsewhere`: its guest goes on at another host, so nothing
  // of it may come out here any more. The controlling thread.
  virtual void shut_down(bool elsewhere) noexcept { (void)elsewhere; }
  // The first resume() after load(): the guest has come from elsewhere. The controlling thread.
  virtual void arrived() {}

  // Beside queues and features. The controlling thread, while quiesced.
  virtual void save(ByteWriter&) const {}
  // Reads all that is left and checks it (finish() too) before anything changes.
  virtual Result<> load(ByteReader& in, uint16_t) { return in.finish(); }
};

}  // namespace godwit::devices::virtio
