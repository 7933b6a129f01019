// Network interfaces of this host, as rtnetlink shows them (rtnetlink(7); linux/if_link.h), in the
// calling thread's network namespace.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "vmm/base/error.h"

namespace godwit::devices {

struct LinkInfo {
  uint32_t index = 0;
  uint32_t mtu = 0;
  bool up = false;
  std::string kind;  // "tun", "veth", "bridge", ...; empty: hardware, or lo
  // Of kind "tun".
  bool tap = false;  // Ethernet frames; else IP packets
  bool multi_queue = false;
  uint32_t queues = 0;  // that programs hold open, enabled or not; Linux tells of multi_queue only
};

// Empty when there is none of that name. Errors: kIo, kPermission, kExhausted from netlink.
Result<std::optional<LinkInfo>> find_link(const std::string& name);

// Both need CAP_NET_ADMIN. Errors: kPermission, kNotFound, kInvalidArgument.
Result<> set_link_up(const std::string& name);
Result<> set_link_mtu(const std::string& name, uint16_t mtu);

}  // namespace godwit::devices
