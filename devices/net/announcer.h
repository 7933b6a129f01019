// Telling the network where a guest is after a move: every switch on the way must send its frames
// to the new port at once, not when the guest happens to send something or an entry ages out.
//
// Each round sends, as if the guest had: a RARP request (RFC 903) in its name, which changes
// nothing for hosts but teaches switches its MAC, as QEMU and others do; for each IPv4 address that
// it uses an ARP announcement (RFC 5227 section 3), for each IPv6 address an unsolicited neighbour
// advertisement (RFC 4861 section 7.2.6), which also renew what neighbours have cached. RARP goes
// into each VLAN that the guest uses. Rounds are repeated, since any of these may be lost.
#pragma once
#include <chrono>
#include <cstddef>
#include <optional>
#include <vector>

#include "devices/net/address_book.h"
#include "devices/net/mac_address.h"
#include "devices/net/net_backend.h"
#include "vmm/base/clock.h"

namespace godwit::devices {

// QEMU's announce-rounds, -initial, -step and -max, with its defaults: at 0, 50, 200, 450 and
// 800 ms.
struct AnnouncePlan {
  unsigned rounds = 5;
  std::chrono::milliseconds initial{50};
  std::chrono::milliseconds step{100};
  std::chrono::milliseconds max{550};

  // From the round `done` (counted from 1) to the next; empty when that was the last.
  [[nodiscard]] std::optional<std::chrono::milliseconds> gap_after(unsigned done) const;
};

// When to announce; has no clock of its own. Threads: the caller's lock.
class AnnounceTimer {
 public:
  explicit AnnounceTimer(const AnnouncePlan& plan = {}) : plan_(plan) {}
  // The first round is due now. Starts over when rounds are left.
  void start(TimePoint now);
  void stop() { due_.reset(); }
  // When the next round is due; empty when none is left.
  [[nodiscard]] std::optional<TimePoint> due() const { return due_; }
  // Whether a round is due: it is the caller's to send then. One that comes late delays the rest.
  bool take(TimePoint now);

 private:
  AnnouncePlan plan_;
  unsigned done_ = 0;
  std::optional<TimePoint> due_;
};

// The frames of one round, without vnet headers, none shorter than kLeastEthernetBytes.
std::vector<std::vector<std::byte>> announcement(MacAddress mac, const AddressList& addresses);

// Sends one round through the first queue pair: the caller is the thread that may send() there.
// Returns how many frames were taken; what is not taken now, the next round repeats.
size_t send_announcement(NetBackend& backend, MacAddress mac, const AddressList& addresses);

}  // namespace godwit::devices
