// Network device (virtio 1.2, 5.1) in front of a NetBackend. Each queue pair has a thread.
//
// The guest gets every frame that comes out of the host's interface. There is no filter in the
// device, so VIRTIO_NET_F_CTRL_RX and CTRL_VLAN, by which a driver sets one up, are not offered.
//
// Moving. The guest takes along its MAC, whatever the target was told, and with it what the control
// queue has set. Frames that the guest has handed over and that were not sent go with its queues;
// frames that have come for it and found no buffers are lost. Once it runs on the target, the
// network is told: in the guest's name, in rounds (devices/net/announcer.h), and by the guest
// itself, if its driver knows VIRTIO_NET_F_GUEST_ANNOUNCE.
//
// State, version 1: 6 bytes MAC, 6 bytes MAC in use | u16 active pairs | u64 offloads that the
// guest takes | u8 whether the guest shall announce itself | u8 whether it sees the link up | the
// addresses that it uses (encode_addresses()).
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "devices/net/net_port.h"
#include "devices/virtio/model.h"
#include "devices/virtio/net_announcement.h"
#include "devices/virtio/net_pair.h"
#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {

class Net final : public Model {
 public:
  static constexpr uint16_t kQueueSize = 256;

  // Throws std::system_error when the host gives no descriptors.
  explicit Net(NetPort port);

  [[nodiscard]] std::string_view type() const override { return "virtio-net"; }
  [[nodiscard]] uint16_t device_id() const override { return kNet; }
  [[nodiscard]] uint32_t class_code() const override { return 0x020000; }
  // id, queues (pairs), offload (on: of checksums and TCP segments), mtu (if given).
  [[nodiscard]] std::string traits() const override;
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::vector<uint16_t> queue_sizes() const override;
  [[nodiscard]] unsigned threads() const override { return static_cast<unsigned>(pairs_.size()); }
  [[nodiscard]] unsigned thread_of(uint16_t queue) const override;
  void read_config(uint32_t offset, std::span<std::byte> data) const override;

  void start(Transport& transport, uint64_t features, unsigned thread) override;
  void stop(unsigned thread) override;
  void notified(uint16_t queue) override;
  void quiesce(unsigned thread) override;
  void resume(unsigned thread) override;
  void arrived() override;
  void save(ByteWriter& out) const override;
  Result<> load(ByteReader& in, uint16_t version) override;

  // For users.
  [[nodiscard]] const std::string& id() const { return config_.id; }
  [[nodiscard]] MacAddress mac() const;  // in use
  [[nodiscard]] const NetBackend& backend() const { return *backend_; }
  // For the next device, once this one is gone.
  [[nodiscard]] NetPort port() const;
  // How often a descriptor woke a thread, doorbells apart.
  [[nodiscard]] uint64_t wake_ups() const;

 private:
  // What a driver sets, or sees in the configuration.
  struct Control {
    MacAddress mac;
    uint16_t active_pairs = 1;
    uint64_t guest_offloads = 0;
    bool announce = false;  // VIRTIO_NET_S_ANNOUNCE
    bool link_up = true;
  };
  [[nodiscard]] uint16_t control_queue() const;
  [[nodiscard]] Control control() const;
  void reset_control();
  void apply_offloads();
  void run_commands(uint16_t queue);
  [[nodiscard]] uint8_t execute(std::span<const std::byte> command);
  [[nodiscard]] uint8_t set_mac(std::span<const std::byte> data);
  [[nodiscard]] uint8_t set_active_pairs(uint16_t pairs);
  [[nodiscard]] uint8_t set_guest_offloads(uint64_t offloads);
  void activate(uint16_t pair, bool active);
  void begin_announcing();
  void link_gone();

  const NetConfig config_;
  const std::shared_ptr<NetBackend> backend_;
  AddressBook book_;
  std::vector<std::unique_ptr<NetPair>> pairs_;
  NetAnnouncement announcement_;  // the first thread's

  // Changed while no thread works, or before any does.
  Transport* transport_ = nullptr;
  uint64_t features_ = 0;     // of the driver
  bool control_set_ = false;  // control_ is what the next driver starts with: load() said so
  bool arrived_ = false;      // no thread has resumed since
  bool stale_ = true;         // what waits in the backend is for nobody
  Chain chain_;               // of the control queue's thread

  mutable std::mutex mutex_;  // guards what follows
  MacAddress own_mac_;        // after a reset
  Control control_;
};

}  // namespace godwit::devices::virtio
