#include "bench/downtime/stats.h"

#include <algorithm>
#include <cmath>

namespace godwit::bench {

double percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
  const auto index = static_cast<size_t>(std::max(rank, 1.0)) - 1;
  return values[std::min(index, values.size() - 1)];
}

Summary summarize(const std::vector<double>& values) {
  return {.count = values.size(),
          .min = percentile(values, 0),
          .p50 = percentile(values, 50),
          .p95 = percentile(values, 95),
          .p99 = percentile(values, 99),
          .max = percentile(values, 100)};
}

}  // namespace godwit::bench
