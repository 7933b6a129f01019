#include "devices/net/announcer.h"

#include <algorithm>
#include <set>

#include "devices/net/ethernet.h"

namespace godwit::devices {
namespace {

constexpr Ipv6Address kAllNodes = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
constexpr MacAddress kAllNodesMac = {{0x33, 0x33, 0, 0, 0, 1}};

// Appends fields in network byte order.
class FrameWriter {
 public:
  FrameWriter(MacAddress to, MacAddress from, uint16_t vlan, uint16_t type) {
    bytes(to.bytes);
    bytes(from.bytes);
    if (vlan != 0) {
      u16(kTypeVlan);
      u16(vlan);
    }
    u16(type);
  }
  void u8(uint8_t value) { frame_.push_back(std::byte{value}); }
  void u16(uint16_t value) {
    u8(static_cast<uint8_t>(value >> 8));
    u8(static_cast<uint8_t>(value));
  }
  void bytes(std::span<const uint8_t> values) {
    for (const uint8_t value : values) u8(value);
  }
  [[nodiscard]] size_t size() const { return frame_.size(); }
  std::vector<std::byte>& frame() { return frame_; }
  std::vector<std::byte> finish() {
    frame_.resize(std::max(frame_.size(), kLeastEthernetBytes));
    return std::move(frame_);
  }

 private:
  std::vector<std::byte> frame_;
};

// The layout that ARP and RARP share (RFC 826).
std::vector<std::byte> arp(uint16_t type, uint16_t operation, MacAddress mac, MacAddress target,
                           const Ipv4Use& use) {
  FrameWriter frame(kBroadcastMac, mac, use.vlan, type);
  frame.u16(kArpEthernet);
  frame.u16(kTypeIpv4);
  frame.u8(static_cast<uint8_t>(mac.bytes.size()));
  frame.u8(static_cast<uint8_t>(use.address.size()));
  frame.u16(operation);
  frame.bytes(mac.bytes);
  frame.bytes(use.address);
  frame.bytes(target.bytes);
  frame.bytes(use.address);
  return frame.finish();
}

// The Internet checksum (RFC 1071) of an even number of bytes, begun with `sum`.
uint16_t checksum(std::span<const std::byte> bytes, uint32_t sum) {
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) sum += big_endian_16(bytes, i);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

std::vector<std::byte> neighbour_advertisement(MacAddress mac, const Ipv6Use& use) {
  constexpr size_t kOptionBytes = 8, kPayload = kAdvertisementBytes + kOptionBytes;
  FrameWriter frame(kAllNodesMac, mac, use.vlan, kTypeIpv6);
  frame.u16(0x6000);  // version 6
  frame.u16(0);
  frame.u16(kPayload);
  frame.u8(kNextIcmpv6);
  frame.u8(kNeighbourHopLimit);
  const size_t addresses = frame.size();
  frame.bytes(use.address);
  frame.bytes(kAllNodes);
  const size_t message = frame.size();
  frame.u16(kNeighbourAdvertisement << 8);  // code 0
  frame.u16(0);                             // checksum
  frame.u8(use.router ? kRouterFlag | kOverrideFlag : kOverrideFlag);
  frame.bytes(std::array<uint8_t, 3>{});
  frame.bytes(use.address);
  frame.u8(kTargetLinkLayerOption);
  frame.u8(kOptionBytes / 8);
  frame.bytes(mac.bytes);
  // With the pseudo-header: both addresses, length, next header (RFC 8200 section 8.1).
  const uint16_t sum =
      checksum(std::span(frame.frame()).subspan(addresses), kPayload + kNextIcmpv6);
  frame.frame()[message + 2] = std::byte(sum >> 8);
  frame.frame()[message + 3] = std::byte(sum & 0xff);
  return frame.finish();
}

}  // namespace

std::optional<std::chrono::milliseconds> AnnouncePlan::gap_after(unsigned done) const {
  if (done >= rounds) return std::nullopt;
  return std::min(initial + step * (std::max(done, 1u) - 1), max);
}

void AnnounceTimer::start(TimePoint now) {
  done_ = 0;
  if (plan_.rounds > 0) due_ = now;
}

bool AnnounceTimer::take(TimePoint now) {
  if (!due_ || now < *due_) return false;
  const auto gap = plan_.gap_after(++done_);
  due_.reset();
  if (gap) due_ = now + *gap;
  return true;
}

std::vector<std::vector<std::byte>> announcement(MacAddress mac, const AddressList& addresses) {
  std::set<uint16_t> vlans = {0};
  for (const Ipv4Use& use : addresses.ipv4) vlans.insert(use.vlan);
  for (const Ipv6Use& use : addresses.ipv6) vlans.insert(use.vlan);
  std::vector<std::vector<std::byte>> frames;
  for (const uint16_t vlan : vlans)
    frames.push_back(arp(kTypeRarp, kRarpRequest, mac, mac, {.vlan = vlan}));
  for (const Ipv4Use& use : addresses.ipv4)
    frames.push_back(arp(kTypeArp, kArpRequest, mac, {}, use));
  for (const Ipv6Use& use : addresses.ipv6) frames.push_back(neighbour_advertisement(mac, use));
  return frames;
}

size_t send_announcement(NetBackend& backend, MacAddress mac, const AddressList& addresses) {
  std::array<std::byte, kVnetHeaderBytes> no_offload{};
  size_t sent = 0;
  for (auto& frame : announcement(mac, addresses)) {
    const std::array<iovec, 2> pieces = {
        {{no_offload.data(), no_offload.size()}, {frame.data(), frame.size()}}};
    if (backend.send(0, pieces) == NetResult::kDone) ++sent;
  }
  return sent;
}

}  // namespace godwit::devices
