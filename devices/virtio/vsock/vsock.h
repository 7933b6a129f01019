// Socket device (virtio 1.2, 5.10): streams between the guest and programs of this host (streams.h
// says how these find it).
//
// Streams do not move with the guest: after a move the driver is told so
// (VIRTIO_VSOCK_EVENT_TRANSPORT_RESET), so that the guest's sockets end with an error at once, and
// the host's ends at the source are closed with it. Listening sockets stay. No state of its own.
#pragma once
#include <string>
#include <string_view>

#include "devices/virtio/model.h"
#include "devices/virtio/vsock/streams.h"

namespace godwit::devices::virtio {

struct VsockConfig {
  uint32_t cid = 0;  // of the guest: 3 to 2^32 - 2
  std::string path;
};

// "cid=N,path=SOCKET", in any order. Errors: kInvalidArgument.
Result<VsockConfig> parse_vsock(std::string_view text);

class Vsock final : public Model {
 public:
  static constexpr uint32_t kMostPacket = 1u << 20;  // of a guest's, without its header

  // Errors: as vsock::Streams::open. Throws std::system_error when the host gives no descriptors.
  static Result<std::unique_ptr<Vsock>> open(const VsockConfig& config);

  [[nodiscard]] std::string_view type() const override { return "virtio-vsock"; }
  [[nodiscard]] uint16_t device_id() const override;
  [[nodiscard]] uint32_t class_code() const override { return 0x078000; }
  [[nodiscard]] std::string traits() const override;
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::vector<uint16_t> queue_sizes() const override { return {128, 128, 16}; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void start(Transport& transport, uint64_t features, unsigned thread) override;
  void stop(unsigned thread) override;
  void notified(uint16_t queue) override;
  void quiesce(unsigned thread) override;
  void resume(unsigned thread) override;
  void arrived() override { reset_owed_ = transport_ != nullptr; }

 private:
  Vsock(uint32_t cid, vsock::Streams streams);
  void serve();
  // Both return whether there may be more to do at once.
  bool serve_transmit();
  bool serve_receive();
  void serve_event();
  bool take_packet();
  void broken(std::string_view why);
  void unwatch(unsigned thread);

  const uint32_t cid_;
  UniqueFd again_;  // rung when a round ends before its work does

  // The device's thread's.
  vsock::Streams streams_;
  Transport* transport_ = nullptr;
  bool resumed_ = false;
  bool broken_ = false;
  bool reset_owed_ = false;
  Chain chain_;
};

}  // namespace godwit::devices::virtio
