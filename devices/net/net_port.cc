#include "devices/net/net_port.h"

#include <algorithm>

#include "devices/net/tap_backend.h"

namespace godwit::devices {

Result<std::vector<NetPort>> open_net_ports(const std::vector<NetConfig>& configs) {
  std::vector<NetPort> ports;
  for (const NetConfig& config : configs) {
    if (std::ranges::any_of(ports, [&](const NetPort& p) { return p.config.id == config.id; }))
      return make_error(Errc::kInvalidArgument,
                        "two network interfaces have the id {}: give one of them another",
                        config.id);
    GODWIT_ASSIGN(auto backend, TapBackend::open(config));
    ports.push_back({config, config.mac ? *config.mac : random_mac(), std::move(backend)});
  }
  return ports;
}

}  // namespace godwit::devices
