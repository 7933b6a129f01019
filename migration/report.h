// What a migration says about itself, while it runs and when it is over. Plain data; the API gives
// it QEMU's field names.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"

namespace godwit::migration {

// QEMU's names where it has them.
enum class Status {
  kNone,
  kSetup,      // connecting, comparing hosts, making the target's machine
  kActive,     // the guest runs while its memory is copied
  kDevice,     // the guest is stopped: switchover
  kCompleted,  // the guest runs at the target
  kCancelling,
  kCancelled,  // the guest runs on at the source
  kFailed,     // the guest runs on at the source
  kUnknown,    // COMMIT was sent, no answer came: the source is paused, see PROTOCOL.md
};
std::string_view status_name(Status status);
constexpr bool is_final(Status s) {
  return s == Status::kCompleted || s == Status::kCancelled || s == Status::kFailed ||
         s == Status::kUnknown;
}

// The phases of the blackout. Each begins where the one before it ends, so they add up to it.
enum class Phase {
  kStop,          // source: asked to pause -> the last vCPU is out of the guest
  kQuiesce,       // source: devices quiet
  kSave,          // source: vCPU and device state serialised
  kFinalHarvest,  // source: last dirty set known
  kSend,          // last pages and state -> all of it received at the target
  kLoad,          // target: state loaded (and, with verify, memory hashed)
  kCommit,        // target ready -> COMMIT received there: one round trip
  kResume,        // target: COMMIT -> just before the first guest instruction
};
inline constexpr size_t kPhases = 8;
std::string_view phase_name(Phase phase);

struct DowntimeLedger {
  std::array<Nanoseconds, kPhases> phases{};
  Nanoseconds total{};         // the sum
  Nanoseconds clock_offset{};  // target clock minus source clock
  Nanoseconds
      clock_offset_error{};  // at most so far off; touches kSend and kCommit, which share it
};

// What the prediction of the blackout was made of, each part measured before; they add up to it.
struct DowntimeBudget {
  Nanoseconds stop{};     // kStop and kQuiesce
  Nanoseconds save{};     // kSave
  Nanoseconds harvest{};  // kFinalHarvest
  Nanoseconds pages{};    // the last dirty set over the measured rate
  Nanoseconds state{};    // the state there and the answer back, without the load: has a round trip
  Nanoseconds load{};     // kLoad
  Nanoseconds round_trip{};  // of pings, for the commit
  Nanoseconds hash{};        // with verify
  [[nodiscard]] Nanoseconds total() const {
    return stop + save + harvest + pages + state + load + round_trip + hash;
  }
};

struct IterationReport {
  uint32_t number = 0;  // 1 is the first pass over memory
  Nanoseconds duration{};
  uint64_t normal_pages = 0;     // sent with content
  uint64_t duplicate_pages = 0;  // sent as "all zero"
  uint64_t lz4_pages = 0;        // of the normal ones
  uint64_t wire_bytes = 0;
  uint64_t dirty_pages_left = 0;  // found by the harvest that ended it
  double wire_bytes_per_second = 0;
  double dirty_pages_per_second = 0;
  Nanoseconds predicted_downtime{};
};

// Disks that come along.
struct StorageProgress {
  uint32_t volumes = 0;
  uint64_t total_bytes = 0;        // of all of them
  uint64_t remaining_bytes = 0;    // known to differ at the target and not yet sent
  uint64_t data_bytes = 0;         // sent with content, once or more
  uint64_t zero_bytes = 0;         // holes and zeroes: named, not sent
  uint64_t transferred_bytes = 0;  // on the wire
  uint32_t passes = 0;             // 1 is the first, over everything
  Nanoseconds first_pass{};        // how long it took
  // What the guest had changed last: sent while it stood still.
  uint64_t last_delta_bytes = 0;
};

struct Progress {
  Status status = Status::kNone;
  Nanoseconds elapsed{};
  Nanoseconds setup_time{};
  uint32_t iteration = 0;  // QEMU: dirty-sync-count
  uint64_t page_size = 4096;
  uint64_t total_bytes = 0;        // guest RAM
  uint64_t remaining_bytes = 0;    // known dirty and not yet sent
  uint64_t transferred_bytes = 0;  // on the wire
  uint64_t normal_pages = 0;
  uint64_t duplicate_pages = 0;
  uint64_t lz4_pages = 0;
  uint64_t lz4_bytes_in = 0;     // before compression
  uint64_t lz4_bytes_out = 0;    // after it
  uint64_t untouched_pages = 0;  // never used by the guest: not read, not sent
  uint64_t free_pages = 0;       // not in use now, says the guest: left out of the first iteration
  double wire_bytes_per_second = 0;
  double dirty_pages_per_second = 0;
  std::optional<Nanoseconds> expected_downtime;
  std::optional<Nanoseconds> time_left;    // estimated
  bool converging = true;                  // false: the guest dirties memory faster than it is sent
  std::optional<StorageProgress> storage;  // when disks come along
};

// What --verify found. Pages that the guest does not use and that were left out count as zero,
// which they are at the target.
struct VerifyReport {
  bool equal = false;
  uint64_t source_hash = 0;
  uint64_t target_hash = 0;
};

struct MigrationResult {
  Progress progress;           // final figures
  std::optional<Error> error;  // unless completed
  Nanoseconds total_time{};
  std::optional<Nanoseconds> downtime;  // the ledger's total, when the guest moved
  std::optional<DowntimeLedger> ledger;
  std::optional<VerifyReport> verify;
  // In order; of more than 256 the first and the latest 128.
  std::vector<IterationReport> iterations;
  // The budget as it stood at the switchover, and its sum. A target knows the sum alone.
  Nanoseconds predicted_downtime{};
  std::optional<DowntimeBudget> budget;
  Nanoseconds round_trip{};
  Nanoseconds rehearsal_stall{};  // how long the guest stood still for the rehearsal
  // If the migration ended before COMMIT after the guest was stopped: how long it stood still here.
  std::optional<Nanoseconds> stall_after_failure;
  std::string peer;
  std::string tracker;
  std::string protocol;  // "plaintext" or the TLS suite
  uint32_t channels = 0;
  uint64_t downtime_bytes = 0;    // wire bytes of the switchover
  double source_cpu_seconds = 0;  // of this process during the migration, vCPUs excluded
  uint64_t send_calls = 0;
};

}  // namespace godwit::migration
