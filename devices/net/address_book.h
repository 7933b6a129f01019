// Which IP addresses a guest uses on an interface, learnt from its own ARP (RFC 826) and neighbour
// discovery (RFC 4861), so that the network can be told where they are after a move.
//
// An address is learnt when the guest, under the interface's own MAC, asks or answers in its name:
// ARP's sender; the source of a neighbour or router solicitation or a router advertisement; the
// target of a neighbour advertisement that overrides (others speak for anycast or for somebody
// else). It is forgotten when somebody else speaks for it (an address that a cluster took from this
// guest must not be claimed back by us), or when kMaxAddresses others were used since.
// Frames may be in one VLAN (802.1Q). Nested tags and extension headers are not looked into.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "devices/net/address_list.h"
#include "devices/net/mac_address.h"

namespace godwit::devices {

// Threads: any.
class AddressBook {
 public:
  // As much of a frame as is ever looked at: Ethernet, VLAN tag, IPv6, neighbour advertisement.
  static constexpr size_t kHeadBytes = 14 + 4 + 40 + 24;

  explicit AddressBook(MacAddress mac) : mac_(mac) {}

  // Forgets all, unless it is the same.
  void set_mac(MacAddress mac);

  // The first kHeadBytes of an Ethernet frame (without vnet header), or all of a shorter one; the
  // bytes may be anything. Cheap for frames that are neither ARP nor ICMPv6.
  void guest_sent(std::span<const std::byte> head);
  void guest_received(std::span<const std::byte> head);

  [[nodiscard]] AddressList list() const;
  // Replaces them all: those of the source, at a migration.
  void restore(AddressList list);

 private:
  mutable std::mutex mutex_;
  MacAddress mac_;
  AddressList list_;  // guest-controlled
};

}  // namespace godwit::devices
