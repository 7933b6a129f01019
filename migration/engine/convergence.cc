#include "migration/engine/convergence.h"

#include <fmt/format.h>

#include <algorithm>

#include "vmm/base/types.h"

namespace godwit::migration {

// Memory and disks share the link, so their times add up.
Nanoseconds BudgetTerms::predict(uint64_t residue_pages) const {
  const Nanoseconds without = fixed() + storage;
  if (residue_pages == 0 || pages_per_second <= 0) return without;
  return without + from_seconds(static_cast<double>(residue_pages) / pages_per_second);
}

uint64_t Convergence::residue(const Sample& sample) {
  return sample.dirty_pages + sample.dirty_storage_bytes / kPageSize;
}

Decision Convergence::decide(const Sample& sample) {
  predicted_ = sample.terms.predict(sample.dirty_pages);
  const Decision decision =
      predicted_ <= parameters_.downtime_limit ? when_it_fits(sample) : when_it_does_not(sample);
  previous_dirty_ = residue(sample);
  best_dirty_ = std::min(best_dirty_, residue(sample));
  return decision;
}

// The limit is kept already. Another round pays as long as the residue is a felt part of the
// blackout and still shrinks.
Decision Convergence::when_it_fits(const Sample& sample) {
  stuck_since_.reset();
  rounds_without_gain_ = 0;
  const Nanoseconds rest = predicted_ - sample.terms.fixed();
  const bool felt = rest * 10 > sample.terms.fixed();
  const bool shrinks = !previous_dirty_ || residue(sample) * 4 < *previous_dirty_ * 3;
  if (felt && shrinks && ++rounds_that_fit_ <= kPolishingRounds) {
    reason_ = fmt::format("{:.3f} ms fit, but {} dirty pages still shrink", to_ms(predicted_),
                          sample.dirty_pages);
    return Decision::kIterate;
  }
  reason_ = fmt::format("{:.3f} ms fit the limit of {:.3f} ms with {} dirty pages",
                        to_ms(predicted_), to_ms(parameters_.downtime_limit), sample.dirty_pages);
  return Decision::kSwitchover;
}

Decision Convergence::when_it_does_not(const Sample& sample) {
  rounds_that_fit_ = 0;
  // Less than a tenth gained on the best round so far is no gain.
  const bool gained = best_dirty_ == ~uint64_t{0} || residue(sample) * 10 < best_dirty_ * 9;
  rounds_without_gain_ = gained ? 0 : rounds_without_gain_ + 1;
  if (gained) stuck_since_.reset();
  if (rounds_without_gain_ >= kRoundsWithoutGain && !stuck_since_) stuck_since_ = sample.at;
  auto numbers =
      fmt::format("predicted downtime {:.3f} ms, limit {:.3f} ms, {} dirty pages",
                  to_ms(predicted_), to_ms(parameters_.downtime_limit), sample.dirty_pages);
  if (sample.dirty_storage_bytes > 0)
    numbers += fmt::format(", {} KiB of disks", sample.dirty_storage_bytes >> 10);
  if (!stuck_since_ || sample.at - *stuck_since_ < parameters_.converge_timeout) {
    reason_ = stuck_since_ ? "does not converge: " + numbers : numbers;
    return Decision::kIterate;
  }
  reason_ = "does not converge: " + numbers;
  switch (parameters_.on_no_converge) {
    case OnNoConverge::kWait:
      return Decision::kIterate;
    case OnNoConverge::kSwitchover:
      return Decision::kSwitchover;
    case OnNoConverge::kCancel:
      return Decision::kCancel;
  }
  return Decision::kIterate;
}

}  // namespace godwit::migration
