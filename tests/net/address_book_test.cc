#include "devices/net/address_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "devices/net/announcer.h"
#include "devices/net/ethernet.h"

namespace godwit::devices {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Bytes = std::vector<std::byte>;

constexpr MacAddress kGuest = {{0x52, 0x54, 0, 0, 0, 1}};
constexpr MacAddress kOther = {{0x52, 0x54, 0, 0, 0, 2}};
constexpr Ipv4Address kTen = {10, 0, 0, 1};

Ipv6Address global(uint8_t last) {
  return {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, last};
}

Bytes text(const std::vector<uint8_t>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}
template <class A>
void append(Bytes& to, const A& values) {
  const auto bytes = std::as_bytes(std::span(values));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Bytes ethernet(MacAddress from, uint16_t type, int vlan_tag = -1) {
  Bytes frame = text({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  append(frame, from.bytes);
  const auto u16 = [&](unsigned v) {
    frame.push_back(std::byte(v >> 8));
    frame.push_back(std::byte(v & 0xff));
  };
  if (vlan_tag >= 0) {
    u16(kTypeVlan);
    u16(static_cast<unsigned>(vlan_tag));
  }
  u16(type);
  return frame;
}

Bytes arp(MacAddress from, Ipv4Address address, int vlan_tag = -1, uint8_t operation = 1) {
  Bytes frame = ethernet(from, kTypeArp, vlan_tag);
  append(frame, text({0, 1, 8, 0, 6, 4, 0, operation}));
  append(frame, from.bytes);
  append(frame, address);
  frame.resize(frame.size() + 10);
  return frame;
}

// `flags` and `target` are those of an advertisement.
Bytes neighbour(MacAddress from, uint8_t type, const Ipv6Address& source, uint8_t flags = 0,
                const Ipv6Address& target = {}) {
  Bytes frame = ethernet(from, kTypeIpv6);
  append(frame, text({0x60, 0, 0, 0, 0, 24, 58, 255}));
  append(frame, source);
  append(frame, global(0xff));
  append(frame, text({type, 0, 0, 0, flags, 0, 0, 0}));
  append(frame, target);
  return frame;
}

TEST(AddressBook, LearnsTheSendersOfArp) {
  AddressBook book(kGuest);
  book.guest_sent(arp(kGuest, kTen));
  book.guest_sent(arp(kGuest, {10, 0, 0, 2}, -1, 2));
  book.guest_sent(arp(kGuest, {10, 0, 0, 3}, 0x6000 | 7));
  book.guest_sent(arp(kGuest, {10, 0, 0, 4}, 0xe000));  // a priority, no VLAN
  EXPECT_THAT(book.list().ipv4, ElementsAre(Ipv4Use{0, kTen}, Ipv4Use{0, {10, 0, 0, 2}},
                                            Ipv4Use{7, {10, 0, 0, 3}}, Ipv4Use{0, {10, 0, 0, 4}}));
}

TEST(AddressBook, LearnsNothingFromArpThatClaimsNothing) {
  AddressBook book(kGuest);
  book.guest_sent(arp(kOther, kTen));
  for (const Ipv4Address& address : {Ipv4Address{0, 0, 0, 0}, Ipv4Address{127, 0, 0, 1},
                                     Ipv4Address{224, 0, 0, 1}, Ipv4Address{255, 255, 255, 255}})
    book.guest_sent(arp(kGuest, address));
  book.guest_sent(arp(kGuest, kTen, 4095));
  book.guest_sent(arp(kGuest, kTen, -1, 3));
  // A wrong hardware type, protocol or length.
  for (const size_t offset : {14, 15, 16, 17, 18, 19, 20}) {
    Bytes frame = arp(kGuest, kTen);
    frame[offset] ^= std::byte{0x10};
    book.guest_sent(frame);
  }
  const Bytes whole = arp(kGuest, kTen);
  for (size_t n = 0; n < whole.size(); ++n) book.guest_sent(std::span(whole).first(n));
  EXPECT_THAT(book.list().ipv4, IsEmpty());
}

TEST(AddressBook, LearnsFromNeighbourDiscovery) {
  AddressBook book(kGuest);
  book.guest_sent(neighbour(kGuest, kNeighbourSolicitation, global(1)));
  book.guest_sent(neighbour(kGuest, kRouterSolicitation, global(2)));
  book.guest_sent(neighbour(kGuest, kRouterAdvertisement, global(3)));
  book.guest_sent(neighbour(kGuest, kNeighbourAdvertisement, global(9), 0xa0, global(4)));
  book.guest_sent(neighbour(kGuest, kNeighbourAdvertisement, global(9), 0x20, global(5)));
  EXPECT_THAT(book.list().ipv6,
              ElementsAre(Ipv6Use{0, global(1), false}, Ipv6Use{0, global(2), false},
                          Ipv6Use{0, global(3), true}, Ipv6Use{0, global(4), true},
                          Ipv6Use{0, global(5), false}));
  // Asking for somebody does not make a router a host; an advertisement that says so does.
  book.guest_sent(neighbour(kGuest, kNeighbourSolicitation, global(3)));
  book.guest_sent(neighbour(kGuest, kNeighbourAdvertisement, global(9), 0x20, global(4)));
  EXPECT_EQ(book.list().ipv6[3], (Ipv6Use{0, global(3), true}));
  EXPECT_EQ(book.list().ipv6[4], (Ipv6Use{0, global(4), false}));
}

TEST(AddressBook, LearnsNothingFromNeighbourDiscoveryThatClaimsNothing) {
  AddressBook book(kGuest);
  Ipv6Address loopback{}, multicast = global(1);
  loopback[15] = 1;
  multicast[0] = 0xff;
  // The source :: is a probe for duplicates: the address is not the guest's yet.
  for (const Ipv6Address& source : {Ipv6Address{}, loopback, multicast})
    book.guest_sent(neighbour(kGuest, kNeighbourSolicitation, source));
  book.guest_sent(neighbour(kOther, kNeighbourSolicitation, global(1)));
  // A proxy or an anycast address: no override.
  book.guest_sent(neighbour(kGuest, kNeighbourAdvertisement, global(1), 0x40, global(4)));
  book.guest_sent(neighbour(kGuest, 128, global(1)));  // an echo request
  // Another version, next header, hop limit or code.
  for (const size_t offset : {14, 20, 21, 55}) {
    Bytes frame = neighbour(kGuest, kNeighbourSolicitation, global(1));
    frame[offset] ^= std::byte{0x10};
    book.guest_sent(frame);
  }
  const Bytes whole = neighbour(kGuest, kNeighbourAdvertisement, global(1), 0x20, global(2));
  for (size_t n = 0; n < whole.size(); ++n) book.guest_sent(std::span(whole).first(n));
  EXPECT_THAT(book.list().ipv6, IsEmpty());
}

TEST(AddressBook, KeepsTheLastEight) {
  AddressBook book(kGuest);
  for (uint8_t i = 1; i <= 8; ++i) book.guest_sent(arp(kGuest, {10, 0, 0, i}));
  book.guest_sent(arp(kGuest, {10, 0, 0, 1}));  // used again
  for (uint8_t i = 9; i <= 11; ++i) book.guest_sent(arp(kGuest, {10, 0, 0, i}));
  std::vector<int> last;
  for (const Ipv4Use& use : book.list().ipv4) last.push_back(use.address[3]);
  EXPECT_THAT(last, ElementsAre(5, 6, 7, 8, 1, 9, 10, 11));
}

TEST(AddressBook, ForgetsAnAddressThatSomebodyElseClaims) {
  AddressBook book(kGuest);
  book.guest_sent(arp(kGuest, kTen));
  book.guest_sent(neighbour(kGuest, kNeighbourSolicitation, global(1)));
  book.guest_received(arp(kGuest, kTen));     // its own, reflected
  book.guest_received(arp(kOther, kTen, 5));  // in another network
  book.guest_received(arp(kOther, {10, 0, 0, 2}));
  EXPECT_THAT(book.list().ipv4, ElementsAre(Ipv4Use{0, kTen}));
  book.guest_received(arp(kOther, kTen, -1, 2));
  EXPECT_THAT(book.list().ipv4, IsEmpty());
  book.guest_received(neighbour(kOther, kNeighbourAdvertisement, global(1), 0x00, global(1)));
  EXPECT_EQ(book.list().ipv6.size(), 1u) << "no override";
  book.guest_received(neighbour(kOther, kNeighbourAdvertisement, global(9), 0x20, global(1)));
  EXPECT_THAT(book.list().ipv6, IsEmpty());
}

TEST(AddressBook, AnotherMacStartsAnew) {
  AddressBook book(kGuest);
  book.guest_sent(arp(kGuest, kTen));
  book.set_mac(kGuest);
  EXPECT_EQ(book.list().ipv4.size(), 1u);
  book.set_mac(kOther);
  EXPECT_EQ(book.list(), AddressList{});
  book.guest_sent(arp(kOther, kTen));
  EXPECT_EQ(book.list().ipv4.size(), 1u);
}

Bytes encoded(const AddressList& list) {
  ByteWriter out;
  encode_addresses(out, list);
  return out.take();
}
Result<AddressList> decoded(std::span<const std::byte> bytes) {
  ByteReader in(bytes, "address list");
  GODWIT_ASSIGN(AddressList list, decode_addresses(in));
  GODWIT_TRY(in.finish());
  return list;
}

void fill(AddressBook& book) {
  book.guest_sent(arp(kGuest, kTen));
  book.guest_sent(arp(kGuest, kTen, 7));
  book.guest_sent(neighbour(kGuest, kRouterAdvertisement, global(1)));
  book.guest_sent(neighbour(kGuest, kNeighbourSolicitation, global(2)));
}

TEST(AddressList, TravelsWithTheGuest) {
  AddressBook book(kGuest), target(kGuest);
  fill(book);
  target.guest_sent(arp(kGuest, {10, 9, 9, 9}));
  target.restore(decoded(encoded(book.list())).value());
  EXPECT_EQ(target.list(), book.list());
}

TEST(AddressList, CutOrChangedBytesAreRefusedOrMeanSomethingElse) {
  AddressBook book(kGuest);
  fill(book);
  const Bytes good = encoded(book.list());
  for (size_t n = 0; n < good.size(); ++n) {
    const auto result = decoded(std::span(good).first(n));
    ASSERT_FALSE(result) << n;
    EXPECT_EQ(result.error().code, Errc::kCorrupt);
  }
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bad = good;
      bad[i] ^= std::byte(1 << bit);
      const auto result = decoded(bad);
      if (result) {
        EXPECT_EQ(encoded(*result), bad) << i;
      }
    }
  }
}

TEST(AddressList, RefusesWhatNoGuestCanHave) {
  const auto refused = [](std::vector<Ipv4Use> uses) {
    return !decoded(encoded({.ipv4 = std::move(uses)}));
  };
  EXPECT_FALSE(refused({{0, kTen}, {4094, kTen}}));
  EXPECT_TRUE(refused({{0, kTen}, {0, kTen}})) << "twice";
  EXPECT_TRUE(refused({{4095, kTen}})) << "no such VLAN";
  EXPECT_TRUE(refused({{0, {255, 255, 255, 255}}})) << "the broadcast address";
  std::vector<Ipv4Use> many;
  for (uint8_t i = 1; i <= 9; ++i) many.push_back({0, {10, 0, 0, i}});
  EXPECT_TRUE(refused(many)) << "too many";
  many.pop_back();
  EXPECT_FALSE(refused(many));
}

TEST(Announcement, IsUnderstoodAsTheGuestsOwnWord) {
  AddressBook source(kGuest), reader(kGuest);
  fill(source);
  const auto frames = announcement(kGuest, source.list());
  ASSERT_EQ(frames.size(), 2u + 2u + 2u) << "RARP untagged and in VLAN 7, two of each kind";
  for (const auto& frame : frames) {
    EXPECT_GE(frame.size(), kLeastEthernetBytes);
    reader.guest_sent(frame);
  }
  EXPECT_EQ(reader.list(), source.list());
}

TEST(Announcement, RarpCarriesTheMacAlone) {
  const auto frames = announcement(kGuest, {});
  ASSERT_EQ(frames.size(), 1u);
  Bytes expected = ethernet(kGuest, kTypeRarp);
  append(expected, text({0, 1, 8, 0, 6, 4, 0, 3}));
  append(expected, kGuest.bytes);
  append(expected, Ipv4Address{});
  append(expected, kGuest.bytes);
  expected.resize(kLeastEthernetBytes);
  EXPECT_EQ(frames[0], expected);
}

TEST(Announcement, NeighbourAdvertisementsHaveAValidChecksum) {
  for (const bool router : {false, true}) {
    const auto frame = announcement(kGuest, {{}, {{0, global(0x42), router}}}).back();
    ASSERT_EQ(frame.size(), 14u + 40 + 32);
    EXPECT_EQ(frame[58], std::byte(router ? 0xa0 : 0x20));
    // A sum over everything, the checksum included, is all ones.
    uint32_t sum = 32 + 58;
    for (size_t i = 22; i < frame.size(); i += 2) sum += big_endian_16(frame, i);
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    EXPECT_EQ(sum, 0xffffu);
    EXPECT_EQ(frame[0], std::byte{0x33});
  }
}

TEST(AnnouncePlan, GapsGrowToALimit) {
  using std::chrono::milliseconds;
  const AnnouncePlan plan;
  std::vector<std::optional<milliseconds>> gaps;
  for (unsigned done = 1; done <= 6; ++done) gaps.push_back(plan.gap_after(done));
  EXPECT_THAT(gaps, ElementsAre(milliseconds(50), milliseconds(150), milliseconds(250),
                                milliseconds(350), std::nullopt, std::nullopt));
  EXPECT_EQ((AnnouncePlan{.rounds = 100}).gap_after(50), milliseconds(550));
}

TEST(AnnounceTimer, IsDueRoundByRound) {
  AnnounceTimer timer;
  TimePoint clock{};
  EXPECT_FALSE(timer.take(clock));
  timer.start(clock);
  std::vector<int64_t> rounds_ms;
  for (int ms = 0; ms < 3000; ++ms) {
    const TimePoint time = clock + std::chrono::milliseconds(ms);
    if (timer.take(time)) rounds_ms.push_back(ms);
  }
  EXPECT_THAT(rounds_ms, ElementsAre(0, 50, 200, 450, 800));
  EXPECT_EQ(timer.due(), std::nullopt);
}

TEST(AnnounceTimer, StopsAndStartsOver) {
  AnnounceTimer timer;
  const TimePoint clock{};
  timer.start(clock);
  EXPECT_TRUE(timer.take(clock));
  EXPECT_FALSE(timer.take(clock));
  timer.stop();
  EXPECT_FALSE(timer.take(clock + std::chrono::hours(1)));
  timer.start(clock);
  unsigned rounds = 0;
  while (timer.due()) rounds += timer.take(*timer.due()) ? 1 : 0;
  EXPECT_EQ(rounds, AnnouncePlan{}.rounds);
  AnnounceTimer never({.rounds = 0});
  never.start(clock);
  EXPECT_EQ(never.due(), std::nullopt);
}

}  // namespace
}  // namespace godwit::devices
