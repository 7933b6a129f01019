// A tap interface of this host behind a guest's.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "devices/net/net_backend.h"
#include "devices/net/net_config.h"
#include "devices/net/tap_open.h"

namespace godwit::devices {

class TapBackend final : public NetBackend {
 public:
  // Errors: see open_tap().
  static Result<std::unique_ptr<NetBackend>> open(const NetConfig& config);
  // `offload` false: offloads() has none.
  TapBackend(OpenTap tap, bool offload);

  [[nodiscard]] size_t queue_pairs() const override { return queues_.size(); }
  Result<> set_active_pairs(size_t pairs) override;
  NetReceived receive(size_t pair, std::span<const iovec> to) override;
  NetResult send(size_t pair, std::span<const iovec> frame) override;
  [[nodiscard]] int poll_fd(size_t pair) const override { return queues_[pair]->fd.get(); }
  [[nodiscard]] NetOffloads offloads() const override { return host_offloads_; }
  NetOffloads set_guest_offloads(NetOffloads guest) override;
  [[nodiscard]] std::optional<uint16_t> mtu() const override { return mtu_; }
  void quiesce() override { running_.store(false, std::memory_order_release); }
  void resume(QueuedFrames queued) override;
  [[nodiscard]] std::string host_name() const override { return name_; }
  [[nodiscard]] NetCounters counters() const override;

 private:
  using Count = std::atomic<uint64_t>;
  struct Drops {
    Count malformed = 0, link_down = 0, no_memory = 0, inactive_queue = 0, other = 0, too_long = 0,
          stale = 0;
  };
  // The counts of one direction of one queue have a cache line that only its thread writes.
  struct alignas(64) Traffic {
    Count frames = 0;
    Count bytes = 0;
  };
  struct Queue {
    UniqueFd fd;
    Traffic sent;
    Traffic received;
    std::vector<iovec> read_pieces;  // of receive(); kept for its memory
  };
  // What an errno of the kernel means for the frame; counts it.
  NetResult receive_failed(int errno_value);
  NetResult send_failed(int errno_value);
  [[nodiscard]] bool is_gone() const;
  Result<> switch_queue(size_t pair, bool on);
  void drop_queued(Queue& queue);

  std::string name_;
  std::optional<uint16_t> mtu_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::atomic<size_t> active_pairs_;
  NetOffloads host_offloads_;
  Drops drops_;
  std::atomic<bool> running_ = false;
};

}  // namespace godwit::devices
