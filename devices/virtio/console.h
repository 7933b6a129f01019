// Console device (virtio 1.2, 5.3) with one port, hvc0 to Linux, in front of a console of the host
// as the serial port has one (devices/console/console.h): neither VIRTIO_CONSOLE_F_MULTIPORT nor
// _SIZE is offered.
//
// A request of the transmit queue goes back to the driver when the console has taken all of it; so
// a slow reader slows the guest down, for kConsoleStallLimit at most.
//
// Own state: u32 bytes of the next transmit request that the console has taken already | blob input
// that the guest has not taken yet | blob unsent output.
#pragma once
#include <memory>
#include <mutex>

#include "devices/console/byte_ring.h"
#include "devices/console/console.h"
#include "devices/virtio/model.h"

namespace godwit::devices::virtio {

// Threads: the queues on the device's thread, the console's calls on the console's.
class Console final : public Model, private ConsoleClient {
 public:
  static constexpr uint32_t kInputBytes = 4096;

  // Throws std::system_error when the host gives no descriptor.
  explicit Console(std::unique_ptr<ConsoleBackend> backend);
  ~Console() override;

  [[nodiscard]] const ConsoleBackend& backend() const { return *backend_; }

  [[nodiscard]] std::string_view type() const override { return "virtio-console"; }
  [[nodiscard]] uint16_t device_id() const override;
  [[nodiscard]] uint32_t class_code() const override { return 0x078000; }
  [[nodiscard]] uint64_t features() const override { return 0; }
  [[nodiscard]] std::vector<uint16_t> queue_sizes() const override { return {64, 64}; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void start(Transport& transport, uint64_t features, unsigned thread) override;
  void stop(unsigned thread) override;
  void notified(uint16_t queue) override;
  void quiesce(unsigned thread) override;
  void resume(unsigned thread) override;
  void shut_down(bool elsewhere) noexcept override;
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

 private:
  bool receive(std::span<const std::byte> bytes) override;
  void output_room() override;

  void serve_transmit();
  void serve_receive();
  // Hands what the console takes of chain_ from sent_ on; whether it took all.
  bool send_rest();
  bool fill_from_input(Queue& queue);

  std::unique_ptr<ConsoleBackend> backend_;
  UniqueFd wake_;  // rung by the console's thread

  // The device's thread's.
  Transport* transport_ = nullptr;
  bool resumed_ = false;
  bool loaded_ = false;  // since the last start(): what stop() would drop came with the state
  Chain chain_;
  uint32_t sent_ = 0;  // of the request at the head of the transmit queue

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  ByteRing input_{kInputBytes};
  bool input_stopped_ = false;  // the console waits to be told that more is wanted
};

}  // namespace godwit::devices::virtio
