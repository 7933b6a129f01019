// What a user may ask of a migration. Names as in QEMU.
#pragma once
#include <cstdint>

#include "vmm/base/clock.h"

namespace godwit::migration {

inline constexpr uint32_t kMaxChannels = 64;

enum class Compression { kAuto, kNone, kLz4 };

// What to do with a guest whose memory changes faster than it can be sent, once
// `converge_timeout` has passed without an end in sight.
enum class OnNoConverge {
  kWait,        // go on, as long as `timeout` allows
  kSwitchover,  // accept a longer blackout
  kCancel,      // give up: the guest stays at the source
};

struct MigrationParameters {
  Nanoseconds downtime_limit = std::chrono::milliseconds(50);
  uint64_t max_bandwidth_bytes_per_second = 0;  // on the wire, all channels together; 0: no limit
  uint32_t multifd_channels = 2;                // data channels, 1..kMaxChannels
  Compression compression = Compression::kAuto;
  OnNoConverge on_no_converge = OnNoConverge::kWait;
  Nanoseconds converge_timeout = std::chrono::seconds(30);
  Nanoseconds timeout{0};  // the whole migration; 0: none
  Nanoseconds connect_timeout = std::chrono::seconds(10);
  Nanoseconds io_timeout =
      std::chrono::seconds(10);  // a peer that moves no byte for so long is lost
  // How long to ask a target that did not confirm COMMIT what became of the guest.
  Nanoseconds resolve_timeout = std::chrono::seconds(5);
  // The disks that are the source's own (vmm::Machine::volumes()) come along.
  bool copy_storage = false;
  bool verify = false;  // compare a hash of all memory at the switchover
};

}  // namespace godwit::migration
