// When to switch over: the downtime budget and the rule that uses it. Pure; nothing here measures.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "migration/parameters.h"
#include "vmm/base/clock.h"

namespace godwit::migration {

// What the blackout is made of, each term measured before it is used: the fixed ones in a rehearsal
// (pause, save, load without handing over), the others in the iterations so far.
struct BudgetTerms {
  Nanoseconds stop{};  // kick and quiesce
  Nanoseconds save{};
  Nanoseconds harvest{};
  Nanoseconds load{};           // at the target
  Nanoseconds send_state{};     // STATE out, LOADED back, less the load: covers one round trip
  Nanoseconds round_trip{};     // COMMIT there is half of it; a whole one is counted
  double pages_per_second = 0;  // what the last full-size iteration moved, end to end
  Nanoseconds storage{};  // what the guest changed on disks that come along: sent and put down

  [[nodiscard]] Nanoseconds fixed() const {
    return stop + save + harvest + load + send_state + round_trip;
  }
  [[nodiscard]] Nanoseconds predict(uint64_t residue_pages) const;
};

enum class Decision { kIterate, kSwitchover, kCancel };

// Fed once after each iteration. Not thread-safe.
class Convergence {
 public:
  explicit Convergence(const MigrationParameters& parameters) : parameters_(parameters) {}

  struct Sample {
    TimePoint at;
    uint64_t sent_pages = 0;           // by the iteration that just ended
    uint64_t dirty_pages = 0;          // found by the harvest after it
    uint64_t dirty_storage_bytes = 0;  // likewise, on disks that come along
    BudgetTerms terms;
  };
  Decision decide(const Sample& sample);

  [[nodiscard]] Nanoseconds predicted() const { return predicted_; }
  [[nodiscard]] bool converging() const { return !stuck_since_; }
  // Why the last decision was made, with its numbers; for the log.
  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  static constexpr uint32_t kPolishingRounds = 8;
  static constexpr uint32_t kRoundsWithoutGain = 3;

  // Pages, and bytes of disks in pages' worth.
  [[nodiscard]] static uint64_t residue(const Sample& sample);
  Decision when_it_fits(const Sample& sample);
  Decision when_it_does_not(const Sample& sample);

  MigrationParameters parameters_;
  Nanoseconds predicted_{};
  std::optional<uint64_t> previous_dirty_;
  uint64_t best_dirty_ = ~uint64_t{0};
  uint32_t rounds_without_gain_ = 0;
  uint32_t rounds_that_fit_ = 0;
  std::optional<TimePoint> stuck_since_;
  std::string reason_;
};

}  // namespace godwit::migration
