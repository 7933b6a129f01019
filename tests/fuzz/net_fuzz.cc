// The host side of network interfaces: option texts, address lists of a peer, frames of a guest.
// Input: one byte of which, then: a text; a list; or records of an AddressBook's frames, each a
// byte (bits 0-1 the announcement to start from, bit 2 heard instead of sent, bits 3-7 how many
// changes), then a change each (offset, XOR), or for 31 changes a byte of length and the raw frame.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "devices/net/address_book.h"
#include "devices/net/announcer.h"
#include "devices/net/ethernet.h"
#include "devices/net/net_config.h"

namespace {

using namespace godwit;           // NOLINT(google-build-using-namespace)
using namespace godwit::devices;  // NOLINT(google-build-using-namespace)

using Frame = std::vector<std::byte>;
constexpr MacAddress kGuest = {{0x52, 0x54, 0, 0, 0, 1}};
constexpr MacAddress kOther = {{0x52, 0x54, 0, 0, 0, 2}};

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "net_fuzz: %s\n", what);
  std::abort();
}

void fuzz_config(std::string_view text) {
  const auto config = parse_net(text, "net0");
  if (!config) {
    require(config.error().code == Errc::kInvalidArgument, "a text's error is the user's");
    return;
  }
  require(!config->id.empty() && config->id.size() <= kMaxDeviceIdLength, "id");
  require(config->tap.empty() != config->fds.empty(), "a tap or descriptors");
  require(config->tap.size() < 16 && (!config->create || !config->tap.empty()), "tap");
  require(config->queue_pairs >= 1 && config->queue_pairs <= kMaxNetQueuePairs, "queues");
  require(config->fds.empty() || config->fds.size() == config->queue_pairs, "descriptors");
  require(!config->mac || config->mac->is_unicast(), "mac");
  require(!config->mtu || (*config->mtu >= kLeastMtu && *config->mtu <= kMostMtu), "mtu");
}

Frame encoded(const AddressList& list) {
  ByteWriter out;
  encode_addresses(out, list);
  return out.take();
}

void fuzz_list(std::span<const std::byte> bytes) {
  ByteReader in(bytes, "fuzz");
  const auto list = decode_addresses(in);
  if (!list) return;
  require(std::ranges::equal(encoded(*list), bytes.first(in.position())), "another encoding");
}

// What was learnt is what a list may hold, and what an announcement of it teaches.
void check(const AddressBook& book, MacAddress mac) {
  const AddressList list = book.list();
  const Frame bytes = encoded(list);
  ByteReader in(bytes, "book");
  const auto again = decode_addresses(in);
  require(again && *again == list && in.remaining() == 0, "its own list was refused");
  AddressBook reader(mac);
  for (const Frame& frame : announcement(mac, list)) {
    require(frame.size() >= kLeastEthernetBytes, "a short frame");
    reader.guest_sent(frame);
  }
  require(reader.list() == list, "the announcement says something else");
}

class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  uint8_t u8() { return empty() ? uint8_t{0} : std::to_integer<uint8_t>(take(1)[0]); }
  std::span<const std::byte> take(size_t n) {
    const auto taken = bytes_.first(std::min(n, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::byte> bytes_;
};

Frame make_frame(Input& in, uint8_t record, MacAddress mac) {
  constexpr unsigned kRaw = 31;
  unsigned changes = record >> 3;
  if (changes == kRaw) {
    const auto raw = in.take(in.u8());
    return {raw.begin(), raw.end()};
  }
  const AddressList seed = {.ipv4 = {{0, {10, 0, 0, 1}}, {7, {10, 0, 0, 1}}},
                            .ipv6 = {{0, {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}}};
  // Behind the two RARPs.
  Frame frame = announcement(mac, seed)[2 + (record & 3) % 3];
  for (; changes > 0; --changes) {
    const size_t offset = in.u8() % frame.size();
    frame[offset] ^= std::byte{in.u8()};
  }
  return frame;
}

void fuzz_book(Input in) {
  AddressBook book(kGuest);
  while (!in.empty()) {
    const uint8_t record = in.u8();
    if ((record & 4) != 0) {
      book.guest_received(make_frame(in, record, kOther));
    } else {
      book.guest_sent(make_frame(in, record, kGuest));
    }
  }
  check(book, kGuest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (bytes.empty()) return 0;
  switch (data[0] % 3) {
    case 0:
      fuzz_config({reinterpret_cast<const char*>(data) + 1, size - 1});
      break;
    case 1:
      fuzz_list(bytes.subspan(1));
      break;
    default:
      fuzz_book(Input(bytes.subspan(1)));
      break;
  }
  return 0;
}
