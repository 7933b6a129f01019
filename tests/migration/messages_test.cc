#include "migration/wire/messages.h"

#include <gtest/gtest.h>

#include <functional>

#include "migration/wire/message_channel.h"
#include "tests/support/memory_channel.h"

namespace godwit::migration::wire {
namespace {

template <class M>
std::vector<std::byte> bytes_of(const M& m) {
  ByteWriter out;
  encode(m, out);
  return out.take();
}

struct Case {
  const char* name;
  std::vector<std::byte> bytes;
  std::function<bool(std::span<const std::byte>)> decodes;
};

// Every field another number.
Settled settled() {
  Settled m{.total_ns = 1, .setup_ns = 2, .predicted_downtime_ns = 3, .round_trip_ns = 4};
  for (size_t i = 0; i < kPhases; ++i) m.ledger.phases[i] = Nanoseconds(10 + i);
  m.ledger.total = Nanoseconds(10 * kPhases + 28);
  m.ledger.clock_offset = Nanoseconds(-5);
  m.ledger.clock_offset_error = Nanoseconds(6);
  m.iterations = 7;
  m.channels = 8;
  m.transferred_bytes = 9;
  m.downtime_bytes = 20;
  m.normal_pages = 21;
  m.duplicate_pages = 22;
  m.untouched_pages = 23;
  m.lz4_pages = 24;
  m.lz4_bytes_in = 25;
  m.lz4_bytes_out = 26;
  return m;
}

std::vector<Case> cases() {
  ByteWriter machine;
  vmm::encode({.arch = "x86_64",
               .memory_size = 64_MiB,
               .vcpus = 2,
               .devices = {{"serial", 1, 2}},
               .cpu = {std::byte{1}}},
              machine);
  return {
      {"HELLO", bytes_of(Hello{.channels = 3, .software = "x"}),
       [](auto b) { return decode_hello(b).has_value(); }},
      {"HELLO_ACK", bytes_of(HelloAck{1, "godwit"}),
       [](auto b) { return decode_hello_ack(b).has_value(); }},
      {"PING", bytes_of(Ping{9}), [](auto b) { return decode_ping(b).has_value(); }},
      {"PONG", bytes_of(Pong{9, -1}), [](auto b) { return decode_pong(b).has_value(); }},
      {"RESIDUE", bytes_of(Residue{9}), [](auto b) { return decode_residue(b).has_value(); }},
      {"LOADED", bytes_of(Loaded{true, 1, 2, 3}),
       [](auto b) { return decode_loaded(b).has_value(); }},
      {"RESUMED", bytes_of(Resumed{1, 2}), [](auto b) { return decode_resumed(b).has_value(); }},
      {"SETTLED", bytes_of(settled()), [](auto b) { return decode_settled(b).has_value(); }},
      {"OUTCOME", bytes_of(Outcome{OutcomeState::kAborted}),
       [](auto b) { return decode_outcome(b).has_value(); }},
      {"FAILED", bytes_of(Text{Errc::kTimeout, "why"}),
       [](auto b) { return decode_text(b).has_value(); }},
      {"MACHINE", machine.take(),
       [](auto b) {
         ByteReader in(b, "machine");
         const auto d = vmm::decode_machine_description(in);
         return d.has_value() && in.finish().has_value();
       }},
  };
}

TEST(Messages, DecodeWhatWasEncoded) {
  for (const Case& c : cases()) EXPECT_TRUE(c.decodes(c.bytes)) << c.name;
}

TEST(Messages, TheSourcesFiguresArriveEachInItsPlace) {
  const auto d = decode_settled(bytes_of(settled()));
  ASSERT_TRUE(d);
  const MigrationResult r = result_of(*d);
  EXPECT_EQ(r.progress.status, Status::kCompleted);
  EXPECT_EQ(r.total_time, Nanoseconds(1));
  EXPECT_EQ(r.progress.setup_time, Nanoseconds(2));
  EXPECT_EQ(r.predicted_downtime, Nanoseconds(3));
  EXPECT_EQ(r.round_trip, Nanoseconds(4));
  EXPECT_EQ(r.ledger->phases, settled().ledger.phases);
  EXPECT_EQ(r.downtime, Nanoseconds(10 * kPhases + 28));
  EXPECT_EQ(r.ledger->clock_offset, Nanoseconds(-5));
  EXPECT_EQ(r.ledger->clock_offset_error, Nanoseconds(6));
  EXPECT_EQ(r.progress.iteration, 7u);
  EXPECT_EQ(r.channels, 8u);
  EXPECT_EQ(r.progress.transferred_bytes, 9u);
  EXPECT_EQ(r.downtime_bytes, 20u);
  EXPECT_EQ(r.progress.normal_pages, 21u);
  EXPECT_EQ(r.progress.duplicate_pages, 22u);
  EXPECT_EQ(r.progress.untouched_pages, 23u);
  EXPECT_EQ(r.progress.lz4_pages, 24u);
  EXPECT_EQ(r.progress.lz4_bytes_in, 25u);
  EXPECT_EQ(r.progress.lz4_bytes_out, 26u);
}

// The count of free pages came later: it is there only when it is not zero.
TEST(Messages, TheSourcesFreePagesArriveIfThereAreAny) {
  Settled m = settled();
  const auto without = bytes_of(m);
  m.free_pages = 27;
  const auto with = bytes_of(m);
  EXPECT_EQ(with.size(), without.size() + 8);
  EXPECT_EQ(result_of(decode_settled(with).value()).progress.free_pages, 27u);
  EXPECT_EQ(result_of(decode_settled(without).value()).progress.free_pages, 0u);
  for (size_t n = without.size() + 1; n < with.size(); ++n)
    EXPECT_FALSE(decode_settled(std::span(with).first(n))) << n;
}

TEST(Messages, ALedgerOfWeeksIsRejected) {
  Settled m = settled();
  m.ledger.phases[3] = std::chrono::hours(24 * 365);
  EXPECT_FALSE(decode_settled(bytes_of(m)));
  // Two whose sum has no place in 64 bits.
  m.ledger.phases[3] = m.ledger.phases[4] = Nanoseconds::min();
  EXPECT_FALSE(decode_settled(bytes_of(m)));
}

TEST(Messages, TruncatedAnywhereAreRejected) {
  for (const Case& c : cases()) {
    for (size_t n = 0; n < c.bytes.size(); ++n) {
      EXPECT_FALSE(c.decodes(std::span(c.bytes).first(n))) << c.name << " at " << n;
    }
  }
}

TEST(Messages, BytesBehindThemAreRejected) {
  for (Case& c : cases()) {
    c.bytes.push_back(std::byte{0});
    EXPECT_FALSE(c.decodes(c.bytes)) << c.name;
  }
}

TEST(Messages, FlippedBytesNeverCrash) {
  for (const Case& c : cases()) {
    for (size_t i = 0; i < c.bytes.size(); ++i) {
      for (const int mask : {1, 0x80, 0xff}) {
        auto bad = c.bytes;
        bad[i] ^= std::byte(mask);
        (void)c.decodes(bad);
      }
    }
  }
}

vmm::MachineDescription with_volumes(std::vector<vmm::VolumeDescription> volumes) {
  return {.arch = "x86_64",
          .memory_size = 64_MiB,
          .vcpus = 1,
          .devices = {{"virtio-blk", 0, 1}},
          .volumes = std::move(volumes)};
}
Result<vmm::MachineDescription> sent(const vmm::MachineDescription& description) {
  ByteWriter out;
  encode(description, out);
  ByteReader in(out.view(), "machine");
  auto decoded = vmm::decode_machine_description(in);
  GODWIT_TRY(in.finish());
  return decoded;
}

TEST(MachineDescription, NamesTheDisksThatComeAlong) {
  const auto two = with_volumes({{"disk0", 512, "host:file:1:2"}, {"data", 1 << 30, ""}});
  const auto there = sent(two);
  ASSERT_TRUE(there) << there.error().message;
  EXPECT_EQ(there->volumes, two.volumes);
  EXPECT_EQ(sent(with_volumes({}))->volumes.size(), 0u);
}

TEST(MachineDescription, DisksThatCannotBeAreRejected) {
  EXPECT_FALSE(sent(with_volumes({{"disk0", 0, ""}})));
  EXPECT_FALSE(sent(with_volumes({{"disk0", 1000, ""}}))) << "no whole sectors";
  EXPECT_FALSE(sent(with_volumes({{"disk0", vmm::kMaxStorageBytes + 512, ""}})));
  EXPECT_FALSE(sent(with_volumes({{std::string(65, 'x'), 512, ""}})));
  EXPECT_FALSE(sent(with_volumes({{"disk0", 512, std::string(129, 'x')}})));
  EXPECT_FALSE(sent(with_volumes(std::vector<vmm::VolumeDescription>(257, {"d", 512, ""}))));
}

TEST(MachineDescription, AnEndAmidTheDisksIsRejected) {
  ByteWriter with;
  encode(with_volumes({{"disk0", 512, "host:file:1:2"}}), with);
  for (size_t cut = 1; cut < 4 + 4 + 5 + 8 + 4 + 13; ++cut) {
    ByteReader in(with.view().first(with.size() - cut), "machine");
    EXPECT_FALSE(vmm::decode_machine_description(in)) << cut;
  }
}

TEST(Messages, ReasonOfThePeerCannotHarmATerminal) {
  const auto text = decode_text(bytes_of(Text{Errc::kIo, "a\033[2Jb\nc"}));
  ASSERT_TRUE(text);
  EXPECT_EQ(text->reason, "a?[2Jb\nc");
}

TEST(Messages, ChannelCountOutsideItsRangeIsRejected) {
  EXPECT_FALSE(decode_hello(bytes_of(Hello{.channels = 0})));
  EXPECT_FALSE(decode_hello(bytes_of(Hello{.channels = 65})));
}

TEST(Preamble, RoundTripsAndRejectsEveryFlip) {
  const Preamble p{.role = Role::kData, .channel = 5, .session = {std::byte{7}}};
  const auto good = encode(p);
  const auto d = decode_preamble(good);
  ASSERT_TRUE(d);
  EXPECT_EQ(d->role, Role::kData);
  EXPECT_EQ(d->channel, 5);
  EXPECT_EQ(d->session, p.session);
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{1};
    EXPECT_FALSE(decode_preamble(bad)) << i;
  }
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(decode_preamble(std::span(good).first(n)));
}

// The bytes that one message makes on the wire.
std::vector<std::byte> framed(const Ping& ping) {
  auto [a, b] = support::make_memory_pair();
  MessageChannel sender(std::move(a));
  sender.send(MessageType::kPing, ping).value();
  std::vector<std::byte> bytes(kMessageHeaderBytes + 4);
  b->receive(MutableBuffer(bytes)).value();
  return bytes;
}

Result<MessageType> receive_raw(std::span<const std::byte> bytes) {
  auto [a, b] = support::make_memory_pair();
  MessageChannel receiver(std::move(b));
  a->send(ConstBuffer(bytes)).value();
  a->flush().value();
  a.reset();
  GODWIT_ASSIGN(const Message m, receiver.receive());
  return m.type;
}

TEST(MessageChannel, RejectsEveryFlippedBitAndEveryTruncation) {
  const auto good = framed({77});
  ASSERT_TRUE(receive_raw(good));
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      auto bad = good;
      bad[i] ^= std::byte(1 << bit);
      EXPECT_FALSE(receive_raw(bad)) << i;
    }
  }
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(receive_raw(std::span(good).first(n)));
}

TEST(MessageChannel, FailureOfThePeerIsItsErrorWhereAnythingElseWasDue) {
  auto [a, b] = support::make_memory_pair();
  MessageChannel target(std::move(a));
  MessageChannel source(std::move(b));
  target.send(MessageType::kFailed, Text{Errc::kExhausted, "no memory left"}).value();
  const auto m = source.expect(MessageType::kAccepted);
  ASSERT_FALSE(m);
  EXPECT_EQ(m.error().code, Errc::kExhausted);
  EXPECT_EQ(m.error().message, "the target gave up: no memory left");
}

}  // namespace
}  // namespace godwit::migration::wire
