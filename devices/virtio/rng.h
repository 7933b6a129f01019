// Entropy device (virtio 1.2, 5.4): fills what the driver lends with random bytes of the host.
// No state of its own.
#pragma once
#include "devices/virtio/model.h"

namespace godwit::devices::virtio {

class Rng final : public Model {
 public:
  // At most this many bytes for one request: the kernel gives that much in one go, and a driver
  // that wants more asks again.
  static constexpr uint32_t kMostBytes = 64u << 10;

  [[nodiscard]] std::string_view type() const override { return "virtio-rng"; }
  [[nodiscard]] uint16_t device_id() const override;
  [[nodiscard]] uint32_t class_code() const override { return 0x00ff00; }
  [[nodiscard]] uint64_t features() const override { return 0; }
  [[nodiscard]] std::vector<uint16_t> queue_sizes() const override { return {64}; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void start(Transport& transport, uint64_t features, unsigned thread) override;
  void stop(unsigned thread) override;
  void notified(uint16_t queue) override;

 private:
  Transport* transport_ = nullptr;
  Chain chain_;
};

}  // namespace godwit::devices::virtio
