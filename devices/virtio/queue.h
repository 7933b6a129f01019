// A split virtqueue (virtio 1.2, 2.7), seen by the device. Everything in its rings is the guest's:
// each index, length and address is checked where it is read, once, on a copy.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"
#include "vmm/memory/guest_memory.h"

namespace godwit::devices::virtio {

// A piece of guest memory that a driver lent out.
struct Buffer {
  Gpa gpa;
  std::span<std::byte> bytes;
};

// A request of a driver: first what the device may read, then what it may write.
struct Chain {
  uint16_t head = 0;
  std::vector<Buffer> readable;
  std::vector<Buffer> writable;
  uint64_t readable_bytes = 0;
  uint64_t writable_bytes = 0;
};

// As a driver sets it through the transport.
struct QueueSetup {
  uint16_t size = 0;  // a power of two, at most what the device offers
  bool enabled = false;
  uint64_t descriptors = 0;
  uint64_t driver_area = 0;  // available ring
  uint64_t device_area = 0;  // used ring
  bool operator==(const QueueSetup&) const = default;
};

// Not synchronised: one thread at a time.
class Queue {
 public:
  // Whether the rings of `setup` are aligned and lie in RAM.
  static Result<> check(const QueueSetup& setup, vmm::GuestMemory& memory);

  // The driver is ready. `setup` has been checked. Starts at index 0.
  void start(const QueueSetup& setup, vmm::GuestMemory& memory, uint64_t features);
  // Goes on where another host stopped.
  void start_at(uint16_t next_available, uint16_t next_used, uint16_t signalled_used,
                bool ever_signalled);
  void stop() { started_ = false; }
  [[nodiscard]] bool started() const { return started_; }

  enum class Pop { kChain, kEmpty, kBroken };
  // Takes the next request. kBroken: the rings break the rules; error() says how, and nothing more
  // comes before the driver resets the device. Reuses the storage of `chain`.
  Pop pop(Chain& chain);
  [[nodiscard]] const std::string& error() const { return error_; }
  // Gives the latest chain back as if it had not been popped.
  void unpop() { --next_available_; }

  // Done with a chain: `written` bytes of its writable part were filled, from its start; they are
  // marked dirty. The driver sees it after publish().
  void push(const Chain& chain, uint32_t written);
  // The same for one whose writes were marked by the caller.
  void push_head(uint16_t head, uint32_t written);
  // Shows the driver all that was pushed. Whether it wants to be told (2.7.7, 2.7.10).
  [[nodiscard]] bool publish();

  // Whether the driver shall ring when it adds requests. Switching it on looks again: true when
  // something came in between (then it is off).
  bool enable_notifications();
  void disable_notifications();

  [[nodiscard]] uint16_t size() const { return size_; }
  [[nodiscard]] uint16_t next_available() const { return next_available_; }
  [[nodiscard]] uint16_t next_used() const { return next_used_; }
  [[nodiscard]] uint16_t signalled_used() const { return signalled_used_; }
  [[nodiscard]] bool ever_signalled() const { return ever_signalled_; }
  // Requests that the driver has added and nobody popped; 0 when the ring is broken.
  [[nodiscard]] uint16_t waiting() const;

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  };
  Pop broken(std::string why);
  bool walk(Chain& chain, const std::byte* table, uint32_t entries, uint32_t index,
            uint32_t& budget, bool indirect);
  bool add_buffer(Chain& chain, const Descriptor& descriptor);
  bool follow_indirect(Chain& chain, const Descriptor& descriptor, uint32_t& budget);
  [[nodiscard]] uint16_t load16(const std::byte* at) const;
  void store16(std::byte* at, Gpa gpa, uint16_t value);
  [[nodiscard]] uint16_t available_index() const;

  vmm::GuestMemory* memory_ = nullptr;
  bool started_ = false;
  bool event_idx_ = false;
  bool indirect_ = false;
  uint16_t size_ = 0;
  const std::byte* descriptors_ = nullptr;
  const std::byte* available_ = nullptr;
  std::byte* used_ = nullptr;
  Gpa used_gpa_;
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;       // including what is not published yet
  uint16_t published_used_ = 0;  // as the driver sees it
  uint16_t signalled_used_ = 0;  // when the driver was told last
  bool ever_signalled_ = false;
  std::string error_;
};

}  // namespace godwit::devices::virtio
