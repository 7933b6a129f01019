#include "devices/net/address_book.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "devices/net/ethernet.h"

namespace godwit::devices {
namespace {

struct Frame {
  MacAddress source;
  uint16_t vlan = 0;
  uint16_t type = 0;
  std::span<const std::byte> payload;
};

// What a frame says: that `speaker` has one of these.
struct Claim {
  MacAddress speaker;
  std::optional<Ipv4Use> ipv4;
  std::optional<Ipv6Use> ipv6;
  bool tells_router = false;  // a solicitation doesn't tell whether its sender is one
};

// `bytes` holds at least offset + N.
template <size_t N>
std::array<uint8_t, N> field(std::span<const std::byte> bytes, size_t offset) {
  std::array<uint8_t, N> value;
  std::memcpy(value.data(), bytes.data() + offset, N);
  return value;
}

std::optional<Frame> read_frame(std::span<const std::byte> bytes) {
  if (bytes.size() < kEthernetHeaderBytes) return std::nullopt;
  Frame frame{.source = {field<6>(bytes, 6)}, .type = big_endian_16(bytes, 12)};
  bytes = bytes.subspan(kEthernetHeaderBytes);
  if (frame.type == kTypeVlan) {
    if (bytes.size() < kVlanTagBytes) return std::nullopt;
    frame.vlan = big_endian_16(bytes, 0) & 0xfff;
    frame.type = big_endian_16(bytes, 2);
    bytes = bytes.subspan(kVlanTagBytes);
  }
  if (frame.vlan > kMaxVlan) return std::nullopt;
  frame.payload = bytes;
  return frame;
}

std::optional<Claim> read_arp(const Frame& frame) {
  const auto arp = frame.payload;
  if (arp.size() < kArpBytes) return std::nullopt;
  constexpr uint16_t kLengths = 0x0604;  // of a MAC and an IPv4 address
  const uint16_t operation = big_endian_16(arp, 6);
  if (big_endian_16(arp, 0) != kArpEthernet || big_endian_16(arp, 2) != kTypeIpv4 ||
      big_endian_16(arp, 4) != kLengths || (operation != kArpRequest && operation != kArpReply))
    return std::nullopt;
  const Ipv4Use use{frame.vlan, field<4>(arp, 14)};
  if (!is_host(use.address)) return std::nullopt;
  return Claim{.speaker = {field<6>(arp, 8)}, .ipv4 = use};
}

// `icmp` holds at least 8 bytes, `claim` the sender's address.
bool read_neighbour_message(std::span<const std::byte> icmp, Claim& claim) {
  const auto type = std::to_integer<uint8_t>(icmp[0]);
  claim.ipv6->router = type == kRouterAdvertisement;
  claim.tells_router = type == kRouterAdvertisement || type == kNeighbourAdvertisement;
  if (type != kNeighbourAdvertisement)
    return claim.tells_router || type == kRouterSolicitation || type == kNeighbourSolicitation;
  if (icmp.size() < kAdvertisementBytes) return false;
  const auto flags = std::to_integer<uint8_t>(icmp[4]);
  claim.ipv6->address = field<16>(icmp, 8);
  claim.ipv6->router = (flags & kRouterFlag) != 0;
  return (flags & kOverrideFlag) != 0;
}

std::optional<Claim> read_ipv6(const Frame& frame) {
  const auto packet = frame.payload;
  constexpr size_t kLeastIcmpBytes = 8;
  if (packet.size() < kIpv6HeaderBytes + kLeastIcmpBytes) return std::nullopt;
  const unsigned version = std::to_integer<unsigned>(packet[0]) >> 4;
  if (version != 6 || packet[6] != std::byte{kNextIcmpv6} ||
      packet[7] != std::byte{kNeighbourHopLimit} || packet[kIpv6HeaderBytes + 1] != std::byte{0})
    return std::nullopt;
  Claim claim{.speaker = frame.source, .ipv6 = Ipv6Use{frame.vlan, field<16>(packet, 8)}};
  if (!read_neighbour_message(packet.subspan(kIpv6HeaderBytes), claim)) return std::nullopt;
  if (!is_host(claim.ipv6->address)) return std::nullopt;
  return claim;
}

std::optional<Claim> read_claim(std::span<const std::byte> head) {
  const auto frame = read_frame(head);
  if (!frame) return std::nullopt;
  if (frame->type == kTypeArp) return read_arp(*frame);
  if (frame->type == kTypeIpv6) return read_ipv6(*frame);
  return std::nullopt;
}

template <class Use>
auto find(std::vector<Use>& list, const Use& use) {
  return std::ranges::find_if(list, [&](const Use& known) {
    return known.vlan == use.vlan && known.address == use.address;
  });
}

// Makes `use` the most recent one.
template <class Use>
void learn(std::vector<Use>& list, const Use& use) {
  if (const auto known = find(list, use); known != list.end()) {
    list.erase(known);
  } else if (list.size() == kMaxAddresses) {
    list.erase(list.begin());
  }
  list.push_back(use);
}

template <class Use>
void forget(std::vector<Use>& list, const Use& use) {
  if (const auto known = find(list, use); known != list.end()) list.erase(known);
}

}  // namespace

void AddressBook::set_mac(MacAddress mac) {
  const std::lock_guard lock(mutex_);
  if (mac != mac_) list_ = {};
  mac_ = mac;
}

void AddressBook::guest_sent(std::span<const std::byte> head) {
  auto claim = read_claim(head);
  if (!claim) return;
  const std::lock_guard lock(mutex_);
  if (claim->speaker != mac_) return;
  if (claim->ipv4) learn(list_.ipv4, *claim->ipv4);
  if (!claim->ipv6) return;
  const auto known = find(list_.ipv6, *claim->ipv6);
  if (known != list_.ipv6.end() && !claim->tells_router) claim->ipv6->router = known->router;
  learn(list_.ipv6, *claim->ipv6);
}

void AddressBook::guest_received(std::span<const std::byte> head) {
  const auto claim = read_claim(head);
  if (!claim) return;
  const std::lock_guard lock(mutex_);
  if (claim->speaker == mac_) return;  // its own, reflected
  if (claim->ipv4) forget(list_.ipv4, *claim->ipv4);
  if (claim->ipv6) forget(list_.ipv6, *claim->ipv6);
}

AddressList AddressBook::list() const {
  const std::lock_guard lock(mutex_);
  return list_;
}

void AddressBook::restore(AddressList list) {
  const std::lock_guard lock(mutex_);
  list_ = std::move(list);
}

}  // namespace godwit::devices
