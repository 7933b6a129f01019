// Medians and tails of repeated runs.
#pragma once
#include <cstddef>
#include <vector>

namespace godwit::bench {

// The value below which `percent` of the values lie, by the nearest rank: always one that was
// measured. 0 for no values; percent is 0 to 100.
double percentile(std::vector<double> values, double percent);

struct Summary {
  size_t count = 0;
  double min = 0, p50 = 0, p95 = 0, p99 = 0, max = 0;
};
Summary summarize(const std::vector<double>& values);

}  // namespace godwit::bench
