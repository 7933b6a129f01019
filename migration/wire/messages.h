// The control protocol's messages. Byte tables, sequence and rules: ../PROTOCOL.md.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "migration/report.h"
#include "vmm/base/byte_io.h"
#include "vmm/base/error.h"
#include "vmm/machine.h"

namespace godwit::migration::wire {

inline constexpr uint16_t kProtocolVersion = 2;     // what this code speaks
inline constexpr uint16_t kProtocolVersionMin = 1;  // the oldest that it still speaks
inline constexpr uint16_t kStorageVersion = 2;      // the first that lets disks come along
inline constexpr size_t kPreambleBytes = 40;
inline constexpr size_t kMessageHeaderBytes = 16;
inline constexpr uint32_t kMaxTextBytes = 16u << 10;
inline constexpr uint32_t kMaxStateBytes = 64u << 20;

using SessionId = std::array<std::byte, 16>;

enum class Role : uint8_t {
  kControl = 0,  // one per migration
  kData = 1,     // pages; `channel` counts from 0
  kOutcome = 2,  // asks what became of `session`
  kStorage = 3,  // the content of disks; at most one per migration
};

// The first bytes of every connection, from the source.
struct Preamble {
  uint16_t version_min = kProtocolVersionMin;
  uint16_t version_max = kProtocolVersion;
  Role role = Role::kControl;
  uint16_t channel = 0;
  SessionId session{};
};
std::array<std::byte, kPreambleBytes> encode(const Preamble& preamble);
Result<Preamble> decode_preamble(std::span<const std::byte> bytes);

enum class MessageType : uint16_t {
  // source to target
  kHello = 1,
  kMachine = 2,
  kPing = 3,
  kResidue = 4,  // page frames follow on this connection, up to an end-of-iteration frame
  kState = 5,
  kCommit = 6,
  kAbort = 7,
  kSettled = 8,
  // target to source
  kHelloAck = 17,
  kAccepted = 18,
  kReady = 19,
  kPong = 20,
  kLoaded = 21,
  kResumed = 22,
  kFailed = 23,
  kOutcome = 24,
};
std::string_view message_name(MessageType type);

struct Hello {
  uint16_t channels = 1;
  bool payload_checksums = true;  // off where the transport authenticates
  bool verify = false;            // hash all memory before LOADED
  bool run_on_commit = true;      // false: the guest was paused and arrives paused
  std::string software;           // "godwit 0.1.0", for logs
};
struct HelloAck {
  uint16_t version = kProtocolVersion;
  std::string software;
};
struct Ping {
  uint32_t sequence = 0;
};
struct Pong {
  uint32_t sequence = 0;
  int64_t target_ns = 0;
};
struct Residue {
  uint32_t iteration = 0;
};
// With rehearsal unset: load this for good, once memory is complete up to `iteration`.
struct StateHead {
  bool rehearsal = false;
  uint32_t iteration = 0;
  int64_t clock_offset_ns = 0;  // the target's monotonic clock minus the source's
};
struct State {
  StateHead head;
  std::vector<std::byte> sections;
};
// Times are readings of the target's monotonic clock.
struct Loaded {
  bool rehearsal = false;
  int64_t received_ns = 0;  // all memory and state were here
  int64_t loaded_ns = 0;    // and loaded
  std::optional<uint64_t> memory_hash;
};
struct Resumed {
  int64_t commit_ns = 0;       // COMMIT arrived
  int64_t first_entry_ns = 0;  // just before the first guest instruction
};
// After RESUMED: the source knows, and will not ask. What it measured, for the target's own
// records.
struct Settled {
  int64_t total_ns = 0;
  int64_t setup_ns = 0;
  int64_t predicted_downtime_ns = 0;
  int64_t round_trip_ns = 0;
  DowntimeLedger ledger;
  uint32_t iterations = 0;
  uint32_t channels = 0;
  uint64_t transferred_bytes = 0;
  uint64_t downtime_bytes = 0;
  uint64_t normal_pages = 0;
  uint64_t duplicate_pages = 0;
  uint64_t untouched_pages = 0;
  uint64_t lz4_pages = 0;
  uint64_t lz4_bytes_in = 0;
  uint64_t lz4_bytes_out = 0;
  uint64_t free_pages = 0;
};
// The same for the API: a completed migration.
MigrationResult result_of(const Settled& m);
enum class OutcomeState : uint8_t {
  kPending = 0,
  kCommitted = 1,
  kAborted = 2,
  kUnknownSession = 3
};
struct Outcome {
  OutcomeState state = OutcomeState::kUnknownSession;
};
struct Text {  // kAbort, kFailed: why
  Errc code = Errc::kIo;
  std::string reason;
};

// Each encoder appends the payload alone; MessageChannel frames it.
void encode(const Hello& m, ByteWriter& out);
void encode(const HelloAck& m, ByteWriter& out);
void encode(const Ping& m, ByteWriter& out);
void encode(const Pong& m, ByteWriter& out);
void encode(const Residue& m, ByteWriter& out);
void encode(const Loaded& m, ByteWriter& out);
void encode(const Resumed& m, ByteWriter& out);
void encode(const Settled& m, ByteWriter& out);
void encode(const Outcome& m, ByteWriter& out);
void encode(const Text& m, ByteWriter& out);
// The sections follow this as they are.
void encode(const StateHead& m, ByteWriter& out);

// Decoders take a whole payload; anything left over is an error.
Result<Hello> decode_hello(std::span<const std::byte> payload);
Result<HelloAck> decode_hello_ack(std::span<const std::byte> payload);
Result<Ping> decode_ping(std::span<const std::byte> payload);
Result<Pong> decode_pong(std::span<const std::byte> payload);
Result<Residue> decode_residue(std::span<const std::byte> payload);
Result<State> decode_state(std::span<const std::byte> payload);
Result<Loaded> decode_loaded(std::span<const std::byte> payload);
Result<Resumed> decode_resumed(std::span<const std::byte> payload);
Result<Settled> decode_settled(std::span<const std::byte> payload);
Result<Outcome> decode_outcome(std::span<const std::byte> payload);
Result<Text> decode_text(std::span<const std::byte> payload);

// The largest payload that a message of this type may have; nothing for an unknown type.
std::optional<uint32_t> max_payload(MessageType type);

}  // namespace godwit::migration::wire
