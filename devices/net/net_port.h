// A guest's network interface as far as it is the host's: what is open here, and whose it is. It
// outlives the machine, so that a reboot keeps the interface up and the guest its MAC.
#pragma once
#include <memory>
#include <vector>

#include "devices/net/mac_address.h"
#include "devices/net/net_backend.h"
#include "devices/net/net_config.h"

namespace godwit::devices {

struct NetPort {
  NetConfig config;
  MacAddress mac;                       // the interface's own: config.mac, or a random one
  std::shared_ptr<NetBackend> backend;  // one device at a time uses it
};

// Errors: two interfaces with one id; those of open_tap().
Result<std::vector<NetPort>> open_net_ports(const std::vector<NetConfig>& configs);

}  // namespace godwit::devices
