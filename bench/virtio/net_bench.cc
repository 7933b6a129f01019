// What a packet costs: through virtio-net and a tap in a network namespace of its own (root only).
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cstdlib>
#include <vector>

#include "bench/virtio/bench_machine.h"
#include "devices/virtio/net.h"
#include "devices/virtio/net_spec.h"

namespace godwit::bench {
namespace {

constexpr Gpa kReceive{8 << 20};
constexpr Gpa kSend{16 << 20};
constexpr uint16_t kType = 0x88b5;  // IEEE 802, local experimental

// A network of this thread's that goes with the last who uses it.
class OwnNetwork {
 public:
  OwnNetwork() : home_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    good_ = home_.valid() && ::unshare(CLONE_NEWNET) == 0;
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;
  ~OwnNetwork() {
    if (good_ && ::setns(home_.get(), CLONE_NEWNET) != 0) std::abort();
  }
  [[nodiscard]] bool good() const { return good_; }

 private:
  UniqueFd home_;
  bool good_ = false;
};

std::unique_ptr<virtio::Model> open_net(benchmark::State& state) {
  const auto config = devices::parse_net("tap=bench0,create=on", "net0");
  auto ports = devices::open_net_ports({*config});
  if (!ports) {
    state.SkipWithError(ports.error().message.c_str());
    return nullptr;
  }
  return std::make_unique<virtio::Net>(ports->front());
}

// A vnet header and a frame that nobody waits for.
std::vector<std::byte> frame_of(size_t bytes) {
  std::vector<std::byte> frame(devices::kVnetHeaderBytes + bytes);
  std::byte* const ethernet = &frame.at(devices::kVnetHeaderBytes);
  ethernet[0] = std::byte{0x02};  // to nobody
  ethernet[6] = std::byte{0x52};
  ethernet[12] = std::byte{kType >> 8};
  ethernet[13] = std::byte{kType & 0xff};
  return frame;
}

// Arguments: packets at a time, bytes of each.
void BM_NetSend(benchmark::State& state) {
  const OwnNetwork network;
  if (!network.good()) return state.SkipWithError("no network namespace: needs root");
  auto model = open_net(state);
  if (!model) return;
  const auto count = static_cast<uint16_t>(state.range(0));
  const auto frame = frame_of(static_cast<size_t>(state.range(1)));
  BenchMachine machine(std::move(model), 0, 2);
  (void)machine.memory().write(kSend, frame);
  uint64_t items = 0;
  const DeviceUse begin = DeviceUse::now();
  const uint64_t interrupts = machine.interrupts();
  for (auto _ : state) {
    for (uint16_t n = 0; n < count; ++n)
      machine.queue(1).add({{kSend, static_cast<uint32_t>(frame.size()), false}}, n);
    machine.kick(1);
    if (!machine.wait(1, count)) {
      state.SkipWithError("a packet was not sent");
      break;
    }
    items += count;
  }
  machine.report(state, begin, interrupts, std::max<uint64_t>(items, 1));
}

// A packet socket on the tap: what it sends, the guest receives.
UniqueFd host_socket() {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(::if_nametoindex("bench0"));
  if (!fd.valid() ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return {};
  return fd;
}

void BM_NetReceive(benchmark::State& state) {
  const OwnNetwork network;
  if (!network.good()) return state.SkipWithError("no network namespace: needs root");
  auto model = open_net(state);
  if (!model) return;
  const auto count = static_cast<uint16_t>(state.range(0));
  const auto frame = frame_of(static_cast<size_t>(state.range(1)));
  const auto wire = std::span(frame).subspan(devices::kVnetHeaderBytes);
  BenchMachine machine(std::move(model), 0, 2);
  const UniqueFd host = host_socket();
  if (!host.valid()) return state.SkipWithError("no packet socket on the tap");
  uint64_t items = 0;
  const DeviceUse begin = DeviceUse::now();
  const uint64_t interrupts = machine.interrupts();
  for (auto _ : state) {
    for (uint16_t n = 0; n < count; ++n)
      machine.queue(0).add({{kReceive + n * 2048u, 2048, true}}, n);
    machine.kick(0);
    for (uint16_t n = 0; n < count; ++n)
      if (::send(host.get(), wire.data(), wire.size(), 0) != static_cast<ssize_t>(wire.size()))
        state.SkipWithError("the tap does not take packets");
    if (!machine.wait(0, count)) {
      state.SkipWithError("a packet did not arrive");
      break;
    }
    items += count;
  }
  machine.report(state, begin, interrupts, std::max<uint64_t>(items, 1));
}

void net_arguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"packets", "bytes"})->UseRealTime();
  for (const int packets : {1, 64}) bench->Args({packets, 60})->Args({packets, 1514});
}
BENCHMARK(BM_NetSend)->Apply(net_arguments);
BENCHMARK(BM_NetReceive)->Apply(net_arguments);

}  // namespace
}  // namespace godwit::bench
