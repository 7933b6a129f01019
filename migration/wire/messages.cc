#include "migration/wire/messages.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "migration/parameters.h"

namespace godwit::migration::wire {
namespace {

// "GODWIT" and two bytes that text-mode tools and terminals damage.
constexpr std::array<char, 8> kPreambleMagic{'G', 'O', 'D', 'W', 'I', 'T', '\r', '\n'};
constexpr uint32_t kMaxSoftwareBytes = 128;
constexpr uint32_t kMaxErrc = static_cast<uint32_t>(Errc::kUnknownOutcome);

// A byte that may only be 0 or 1.
bool read_bool(ByteReader& in, std::string_view what) {
  const uint8_t v = in.u8();
  if (v > 1) in.fail(make_error(Errc::kCorrupt, "{} is {}, neither 0 nor 1", what, v));
  return v == 1;
}

}  // namespace

std::string_view message_name(MessageType type) {
  switch (type) {
    case MessageType::kHello:
      return "HELLO";
    case MessageType::kMachine:
      return "MACHINE";
    case MessageType::kPing:
      return "PING";
    case MessageType::kResidue:
      return "RESIDUE";
    case MessageType::kState:
      return "STATE";
    case MessageType::kCommit:
      return "COMMIT";
    case MessageType::kAbort:
      return "ABORT";
    case MessageType::kSettled:
      return "SETTLED";
    case MessageType::kHelloAck:
      return "HELLO_ACK";
    case MessageType::kAccepted:
      return "ACCEPTED";
    case MessageType::kReady:
      return "READY";
    case MessageType::kPong:
      return "PONG";
    case MessageType::kLoaded:
      return "LOADED";
    case MessageType::kResumed:
      return "RESUMED";
    case MessageType::kFailed:
      return "FAILED";
    case MessageType::kOutcome:
      return "OUTCOME";
  }
  return "UNKNOWN";
}

std::optional<uint32_t> max_payload(MessageType type) {
  switch (type) {
    case MessageType::kHello:
    case MessageType::kHelloAck:
      return 1024;
    case MessageType::kMachine:
      return 256u << 10;
    case MessageType::kState:
      return kMaxStateBytes;
    case MessageType::kAbort:
    case MessageType::kFailed:
      return kMaxTextBytes + 64;
    case MessageType::kPing:
    case MessageType::kPong:
    case MessageType::kResidue:
    case MessageType::kLoaded:
    case MessageType::kResumed:
    case MessageType::kOutcome:
      return 64;
    case MessageType::kSettled:
      return 256;
    case MessageType::kCommit:
    case MessageType::kAccepted:
    case MessageType::kReady:
      return 0;
  }
  return std::nullopt;
}

std::array<std::byte, kPreambleBytes> encode(const Preamble& preamble) {
  ByteWriter out;
  out.bytes(std::as_bytes(std::span(kPreambleMagic)));
  out.u16(preamble.version_min);
  out.u16(preamble.version_max);
  out.u8(static_cast<uint8_t>(preamble.role));
  out.u8(0);
  out.u16(preamble.channel);
  out.bytes(preamble.session);
  out.u64(XXH3_64bits(out.view().data(), out.size()));
  std::array<std::byte, kPreambleBytes> bytes{};
  std::ranges::copy(out.view(), bytes.begin());
  return bytes;
}

Result<Preamble> decode_preamble(std::span<const std::byte> bytes) {
  ByteReader in(bytes, "connection preamble");
  const auto magic = in.bytes(kPreambleMagic.size());
  if (in.ok() && std::memcmp(magic.data(), kPreambleMagic.data(), kPreambleMagic.size()) != 0) {
    return make_error(Errc::kProtocol, "the peer does not speak Godwit's migration protocol");
  }
  Preamble preamble;
  preamble.version_min = in.u16();
  preamble.version_max = in.u16();
  const uint8_t role = in.u8();
  const uint8_t reserved = in.u8();
  preamble.channel = in.u16();
  const auto session = in.bytes(preamble.session.size());
  if (!session.empty()) std::ranges::copy(session, preamble.session.begin());
  const size_t covered = in.position();
  const uint64_t checksum = in.u64();
  GODWIT_TRY(in.finish());
  if (checksum != XXH3_64bits(bytes.data(), covered)) {
    return make_error(Errc::kCorrupt, "connection preamble: wrong checksum");
  }
  if (role > static_cast<uint8_t>(Role::kStorage) || reserved != 0) {
    return make_error(Errc::kProtocol, "connection preamble: unknown role {}", role);
  }
  preamble.role = static_cast<Role>(role);
  return preamble;
}

void encode(const Hello& m, ByteWriter& out) {
  out.u16(m.channels);
  out.u8(m.payload_checksums ? 1 : 0);
  out.u8(m.verify ? 1 : 0);
  out.u8(m.run_on_commit ? 1 : 0);
  out.string(m.software);
}

Result<Hello> decode_hello(std::span<const std::byte> payload) {
  ByteReader in(payload, "HELLO");
  Hello m;
  m.channels = in.u16();
  m.payload_checksums = read_bool(in, "HELLO: payload checksums");
  m.verify = read_bool(in, "HELLO: verify");
  m.run_on_commit = read_bool(in, "HELLO: run on commit");
  m.software = in.string(kMaxSoftwareBytes, "the software name's length");
  GODWIT_TRY(in.finish());
  if (m.channels == 0 || m.channels > kMaxChannels) {
    return make_error(Errc::kProtocol, "HELLO: {} data channels, 1 to {} allowed", m.channels,
                      kMaxChannels);
  }
  return m;
}

void encode(const HelloAck& m, ByteWriter& out) {
  out.u16(m.version);
  out.string(m.software);
}

Result<HelloAck> decode_hello_ack(std::span<const std::byte> payload) {
  ByteReader in(payload, "HELLO_ACK");
  HelloAck m;
  m.version = in.u16();
  m.software = in.string(kMaxSoftwareBytes, "the software name's length");
  GODWIT_TRY(in.finish());
  return m;
}

void encode(const Ping& m, ByteWriter& out) {
  out.u32(m.sequence);
}

Result<Ping> decode_ping(std::span<const std::byte> payload) {
  ByteReader in(payload, "PING");
  const Ping m{in.u32()};
  GODWIT_TRY(in.finish());
  return m;
}

void encode(const Pong& m, ByteWriter& out) {
  out.u32(m.sequence);
  out.i64(m.target_ns);
}

Result<Pong> decode_pong(std::span<const std::byte> payload) {
  ByteReader in(payload, "PONG");
  Pong m;
  m.sequence = in.u32();
  m.target_ns = in.i64();
  GODWIT_TRY(in.finish());
  return m;
}

void encode(const Residue& m, ByteWriter& out) {
  out.u32(m.iteration);
}

Result<Residue> decode_residue(std::span<const std::byte> payload) {
  ByteReader in(payload, "RESIDUE");
  const Residue m{in.u32()};
  GODWIT_TRY(in.finish());
  return m;
}

void encode(const StateHead& m, ByteWriter& out) {
  out.u8(m.rehearsal ? 1 : 0);
  out.u32(m.iteration);
  out.i64(m.clock_offset_ns);
}

Result<State> decode_state(std::span<const std::byte> payload) {
  ByteReader in(payload, "STATE");
  State m;
  m.head.rehearsal = read_bool(in, "STATE: rehearsal");
  m.head.iteration = in.u32();
  m.head.clock_offset_ns = in.i64();
  const auto sections = in.bytes(in.remaining());
  GODWIT_TRY(in.finish());
  m.sections.assign(sections.begin(), sections.end());
  return m;
}

void encode(const Loaded& m, ByteWriter& out) {
  out.u8(m.rehearsal ? 1 : 0);
  out.i64(m.received_ns);
  out.i64(m.loaded_ns);
  out.u8(m.memory_hash ? 1 : 0);
  out.u64(m.memory_hash.value_or(0));
}

Result<Loaded> decode_loaded(std::span<const std::byte> payload) {
  ByteReader in(payload, "LOADED");
  Loaded m;
  m.rehearsal = read_bool(in, "LOADED: rehearsal");
  m.received_ns = in.i64();
  m.loaded_ns = in.i64();
  const bool hashed = read_bool(in, "LOADED: hash present");
  const uint64_t hash = in.u64();
  if (hashed) m.memory_hash = hash;
  GODWIT_TRY(in.finish());
  return m;
}

void encode(const Resumed& m, ByteWriter& out) {
  out.i64(m.commit_ns);
  out.i64(m.first_entry_ns);
}

Result<Resumed> decode_resumed(std::span<const std::byte> payload) {
  ByteReader in(payload, "RESUMED");
  Resumed m;
  m.commit_ns = in.i64();
  m.first_entry_ns = in.i64();
  GODWIT_TRY(in.finish());
  return m;
}

void encode(const Settled& m, ByteWriter& out) {
  for (const int64_t ns : {m.total_ns, m.setup_ns, m.predicted_downtime_ns, m.round_trip_ns}) {
    out.i64(ns);
  }
  for (const Nanoseconds phase : m.ledger.phases) out.i64(phase.count());
  out.i64(m.ledger.clock_offset.count());
  out.i64(m.ledger.clock_offset_error.count());
  out.u32(m.iterations);
  out.u32(m.channels);
  for (const uint64_t count :
       {m.transferred_bytes, m.downtime_bytes, m.normal_pages, m.duplicate_pages, m.untouched_pages,
        m.lz4_pages, m.lz4_bytes_in, m.lz4_bytes_out}) {
    out.u64(count);
  }
  // Later than the others, and so not there when there is nothing to say.
  if (m.free_pages != 0) out.u64(m.free_pages);
}

MigrationResult result_of(const Settled& m) {
  MigrationResult result;
  Progress& p = result.progress;
  p.status = Status::kCompleted;
  p.elapsed = Nanoseconds(m.total_ns);
  p.setup_time = Nanoseconds(m.setup_ns);
  p.iteration = m.iterations;
  p.transferred_bytes = m.transferred_bytes;
  p.normal_pages = m.normal_pages;
  p.duplicate_pages = m.duplicate_pages;
  p.untouched_pages = m.untouched_pages;
  p.lz4_pages = m.lz4_pages;
  p.lz4_bytes_in = m.lz4_bytes_in;
  p.lz4_bytes_out = m.lz4_bytes_out;
  p.free_pages = m.free_pages;
  result.total_time = Nanoseconds(m.total_ns);
  result.downtime = m.ledger.total;
  result.ledger = m.ledger;
  result.predicted_downtime = Nanoseconds(m.predicted_downtime_ns);
  result.round_trip = Nanoseconds(m.round_trip_ns);
  result.channels = m.channels;
  result.downtime_bytes = m.downtime_bytes;
  return result;
}

Result<Settled> decode_settled(std::span<const std::byte> payload) {
  ByteReader in(payload, "SETTLED");
  // A ledger of more than a week is none; and so its sum cannot overflow.
  constexpr int64_t kLongest = Nanoseconds(std::chrono::hours(24 * 7)).count();
  const auto duration = [&](std::string_view what) {
    const int64_t ns = in.i64();
    if (ns >= -kLongest && ns <= kLongest) return ns;
    in.fail(make_error(Errc::kCorrupt, "SETTLED: {} of {} ns", what, ns));
    return int64_t{0};
  };
  Settled m;
  m.total_ns = duration("a total time");
  m.setup_ns = duration("a setup time");
  m.predicted_downtime_ns = duration("a prediction");
  m.round_trip_ns = duration("a round trip");
  for (Nanoseconds& phase : m.ledger.phases) {
    phase = Nanoseconds(duration("a phase"));
    m.ledger.total += phase;
  }
  m.ledger.clock_offset = Nanoseconds(in.i64());
  m.ledger.clock_offset_error = Nanoseconds(in.i64());
  m.iterations = in.u32();
  m.channels = in.u32();
  for (uint64_t* count :
       {&m.transferred_bytes, &m.downtime_bytes, &m.normal_pages, &m.duplicate_pages,
        &m.untouched_pages, &m.lz4_pages, &m.lz4_bytes_in, &m.lz4_bytes_out}) {
    *count = in.u64();
  }
  if (in.remaining() != 0) m.free_pages = in.u64();
  GODWIT_TRY(in.finish());
  return m;
}

void encode(const Outcome& m, ByteWriter& out) {
  out.u8(static_cast<uint8_t>(m.state));
}

Result<Outcome> decode_outcome(std::span<const std::byte> payload) {
  ByteReader in(payload, "OUTCOME");
  const uint8_t state = in.u8();
  GODWIT_TRY(in.finish());
  if (state > static_cast<uint8_t>(OutcomeState::kUnknownSession)) {
    return make_error(Errc::kCorrupt, "OUTCOME: unknown state {}", state);
  }
  return Outcome{static_cast<OutcomeState>(state)};
}

void encode(const Text& m, ByteWriter& out) {
  out.u32(static_cast<uint32_t>(m.code));
  out.string(std::string_view(m.reason).substr(0, kMaxTextBytes));
}

Result<Text> decode_text(std::span<const std::byte> payload) {
  ByteReader in(payload, "reason of the peer");
  Text m;
  m.code = static_cast<Errc>(in.count(kMaxErrc, "the error code"));
  m.reason = in.string(kMaxTextBytes, "the reason's length");
  GODWIT_TRY(in.finish());
  // It ends on terminals and in logs: keep it to what cannot harm them.
  std::ranges::replace_if(
      m.reason, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n'; }, '?');
  return m;
}

}  // namespace godwit::migration::wire
