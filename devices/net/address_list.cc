#include "devices/net/address_list.h"

#include <algorithm>
#include <cstring>

namespace godwit::devices {
namespace {

template <class Use>
bool comes_twice(const std::vector<Use>& list, const Use& use) {
  return std::ranges::count_if(list, [&](const Use& other) {
           return other.vlan == use.vlan && other.address == use.address;
         }) > 1;
}

template <class Use>
bool is_valid(const std::vector<Use>& list) {
  return std::ranges::all_of(list, [&](const Use& use) {
    return use.vlan <= kMaxVlan && is_host(use.address) && !comes_twice(list, use);
  });
}

template <size_t N>
void write_address(ByteWriter& out, const std::array<uint8_t, N>& address) {
  out.bytes(std::as_bytes(std::span(address)));
}

template <size_t N>
std::array<uint8_t, N> read_address(ByteReader& in) {
  const auto bytes = in.bytes(N);
  std::array<uint8_t, N> address{};
  if (!bytes.empty()) std::memcpy(address.data(), bytes.data(), N);
  return address;
}

}  // namespace

bool is_host(const Ipv4Address& address) {
  constexpr uint8_t kLoopback = 127, kFirstMulticast = 224;
  return address[0] != 0 && address[0] != kLoopback && address[0] < kFirstMulticast;
}

bool is_host(const Ipv6Address& address) {
  const bool multicast = address[0] == 0xff;
  const bool high_part = std::any_of(address.begin(), address.end() - 1, [](auto b) { return b; });
  // Neither :: nor ::1.
  return !multicast && (high_part || address[15] > 1);
}

void encode_addresses(ByteWriter& out, const AddressList& list) {
  out.u32(static_cast<uint32_t>(list.ipv4.size()));
  for (const Ipv4Use& use : list.ipv4) {
    out.u16(use.vlan);
    write_address(out, use.address);
  }
  out.u32(static_cast<uint32_t>(list.ipv6.size()));
  for (const Ipv6Use& use : list.ipv6) {
    out.u16(use.vlan);
    write_address(out, use.address);
    out.u8(use.router ? 1 : 0);
  }
}

Result<AddressList> decode_addresses(ByteReader& in) {
  AddressList list;
  bool flags_valid = true;
  for (uint32_t n = in.count(kMaxAddresses, "IPv4 addresses of a network interface"); n > 0; --n) {
    const uint16_t vlan = in.u16();
    list.ipv4.push_back({vlan, read_address<4>(in)});
  }
  for (uint32_t n = in.count(kMaxAddresses, "IPv6 addresses of a network interface"); n > 0; --n) {
    const uint16_t vlan = in.u16();
    const auto address = read_address<16>(in);
    const uint8_t router = in.u8();
    flags_valid = flags_valid && router <= 1;
    list.ipv6.push_back({vlan, address, router == 1});
  }
  if (in.ok() && !(flags_valid && is_valid(list.ipv4) && is_valid(list.ipv6))) {
    in.fail(make_error(Errc::kCorrupt,
                       "the addresses of a network interface hold one that no guest can have, or "
                       "one twice"));
  }
  GODWIT_TRY(in.status());
  return list;
}

}  // namespace godwit::devices
