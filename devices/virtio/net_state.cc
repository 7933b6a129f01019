// Saving and loading a network device.
#include "devices/virtio/net.h"
#include "devices/virtio/net_spec.h"

namespace godwit::devices::virtio {
namespace {

MacAddress read_mac(ByteReader& in) {
  MacAddress mac;
  for (uint8_t& byte : mac.bytes) byte = in.u8();
  return mac;
}

}  // namespace

void Net::save(ByteWriter& out) const {
  {
    const std::lock_guard lock(mutex_);
    out.bytes(std::as_bytes(std::span(own_mac_.bytes)));
    out.bytes(std::as_bytes(std::span(control_.mac.bytes)));
    out.u16(control_.active_pairs);
    out.u64(control_.guest_offloads);
    out.u8(control_.announce ? 1 : 0);
    out.u8(control_.link_up ? 1 : 0);
  }
  encode_addresses(out, book_.list());
}

Result<> Net::load(ByteReader& in, uint16_t) {
  const MacAddress own_mac = read_mac(in);
  Control loaded;
  loaded.mac = read_mac(in);
  loaded.active_pairs = in.u16();
  loaded.guest_offloads = in.u64();
  const uint8_t announce = in.u8(), link_up = in.u8();
  GODWIT_TRY(in.status());
  GODWIT_ASSIGN(AddressList addresses, decode_addresses(in));
  GODWIT_TRY(in.finish());
  if (!own_mac.is_unicast() || !loaded.mac.is_unicast() || announce > 1 || link_up > 1 ||
      loaded.active_pairs == 0)
    return make_error(Errc::kCorrupt, "network interface {}: a state that cannot be", config_.id);
  if (loaded.active_pairs > pairs_.size() ||
      (loaded.guest_offloads & ~(features() & kNetGuestOffloads)) != 0)
    return make_error(Errc::kIncompatible,
                      "network interface {}: the guest uses {} queue pairs and the offloads {:#x}; "
                      "{} has {} and {:#x}",
                      config_.id, loaded.active_pairs, loaded.guest_offloads, backend_->host_name(),
                      pairs_.size(), features() & kNetGuestOffloads);
  loaded.announce = announce == 1;
  loaded.link_up = link_up == 1;
  GODWIT_TRY(backend_->set_active_pairs(loaded.active_pairs));
  book_.set_mac(loaded.mac);
  book_.restore(std::move(addresses));
  const std::lock_guard lock(mutex_);
  own_mac_ = own_mac;
  control_ = loaded;
  control_set_ = true;
  return {};
}

}  // namespace godwit::devices::virtio
