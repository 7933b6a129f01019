// The host's side of a network device, for the fuzzer: a network that sends and takes any frames.
#pragma once
#include "devices/virtio/net.h"
#include "tests/fuzz/virtio_hosts.h"
#include "tests/virtio/net_wire.h"

namespace godwit::devices::virtio {

class NetHost final : public Host {
 public:
  std::unique_ptr<Model> make() override {
    wire_ = std::make_shared<Wire>(2);
    NetConfig config{.id = "net0", .mtu = 1500};
    return std::make_unique<Net>(
        NetPort{config, {{0x52, 0x54, 0, 0, 0, 1}}, std::make_shared<WireBackend>(wire_)});
  }
  void act(Model&, FuzzInput& in) override {
    const uint8_t what = in.u8();
    const size_t pair = what % 2;
    switch (what >> 1 & 3) {
      case 0:
      case 1: {
        // Its first bytes are the input's.
        const auto head = in.take(what >> 3);
        Bytes frame(kVnetHeaderBytes + 60 + (in.u8() % 64) * 1000u);
        std::copy(head.begin(), head.end(), frame.begin());
        (void)wire_->try_send(frame, pair);
        return;
      }
      case 2:
        (void)wire_->receive(pair, 0);
        return;
      default:
        if (what >> 3 == 31) wire_->gone = true;
        wire_->limit(what >> 3 == 1 ? 1 : 100'000);
    }
  }

 private:
  std::shared_ptr<Wire> wire_;
};

}  // namespace godwit::devices::virtio
