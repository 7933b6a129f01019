// Choosing a guest's network interface, as the command line's --net does.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/net/mac_address.h"
#include "vmm/base/error.h"

namespace godwit::devices {

inline constexpr uint16_t kMaxNetQueuePairs = 8;
inline constexpr size_t kMaxDeviceIdLength = 48;
// What virtio 1.2 section 5.1.4.1 (from 68) and Linux taps (to 65521) allow.
inline constexpr uint16_t kLeastMtu = 68;
inline constexpr uint16_t kMostMtu = 65521;

struct NetConfig {
  std::string id;                 // names the device to users, and at a migration to the target
  std::string tap;                // the interface's name, or empty: fds
  bool create = false;            // the tap is made here, and goes when this process does
  std::vector<int> fds;           // open taps that this process inherited, one per queue pair
  std::optional<MacAddress> mac;  // else the caller makes one (random_mac()) that it keeps
  uint16_t queue_pairs = 1;
  bool offload = true;  // checksums and segmentation may be left to the host
  std::optional<uint16_t> mtu;
  bool announce = true;  // after a move
};

// "tap=IFNAME[,create=on|off]" or "fd=N[:N...]", and any of id=NAME, mac=XX:XX:XX:XX:XX:XX,
// queues=N, offload=on|off, mtu=N, announce=on|off. See devices/options/option_text.h for the form.
// `default_id` stands in when the text has no id. Errors: kInvalidArgument.
Result<NetConfig> parse_net(std::string_view text, std::string_view default_id);

}  // namespace godwit::devices
