#include "bench/downtime/results.h"

#include <fmt/format.h>

#include <algorithm>

#include "vmm/base/check.h"

namespace godwit::bench {

const std::vector<Metric>& metrics() {
  static const std::vector<Metric> all = {
      {"blackout_ms", "blackout", "ms", [](const RunFigures& f) { return f.blackout_ms; }},
      {"guest_gap_ms", "guest gap", "ms", [](const RunFigures& f) { return f.guest_gap_ms; }},
      {"total_ms", "total time", "ms", [](const RunFigures& f) { return f.total_ms; }},
      {"setup_ms", "setup", "ms", [](const RunFigures& f) { return f.setup_ms; }},
      {"whole_ms", "with setup", "ms", [](const RunFigures& f) { return f.whole_ms; }},
      {"wall_ms", "wall clock", "ms", [](const RunFigures& f) { return f.wall_ms; }},
      {"throughput_mib", "throughput", "MiB/s",
       [](const RunFigures& f) { return f.throughput_mib; }},
      {"brownout", "brownout", "of full", [](const RunFigures& f) { return f.brownout; }},
      {"source_cpu_s", "source CPU", "s", [](const RunFigures& f) { return f.source_cpu_s; }},
      {"target_cpu_s", "target CPU", "s", [](const RunFigures& f) { return f.target_cpu_s; }},
      {"wire_mib", "on the wire", "MiB",
       [](const RunFigures& f) { return static_cast<double>(f.wire_bytes) / (1 << 20); }},
      {"iterations", "iterations", "",
       [](const RunFigures& f) { return static_cast<double>(f.iterations); }},
  };
  return all;
}

const Metric& metric(std::string_view key) {
  const auto found = std::ranges::find_if(metrics(), [&](const Metric& m) { return m.key == key; });
  GODWIT_CHECK(found != metrics().end(), "a metric of that name exists");
  return *found;
}

std::vector<std::string> Results::case_names() const {
  std::vector<std::string> names;
  for (const Run& run : runs_)
    if (std::ranges::find(names, run.case_name) == names.end()) names.push_back(run.case_name);
  return names;
}

std::vector<Contestant> Results::contestants(const std::string& case_name) const {
  std::vector<Contestant> found;
  for (const Run& run : runs_) {
    if (run.case_name == case_name && std::ranges::find(found, run.contestant) == found.end()) {
      found.push_back(run.contestant);
    }
  }
  return found;
}

Results::Count Results::count(const std::string& case_name, Contestant contestant) const {
  Count count;
  for (const Run& run : runs_) {
    if (run.case_name != case_name || run.contestant != contestant) continue;
    ++count.runs;
    if (run.figures.converged) ++count.converged;
  }
  return count;
}

Summary Results::summary(const std::string& case_name, Contestant contestant,
                         const Metric& m) const {
  std::vector<double> values;
  for (const Run& run : runs_) {
    if (run.case_name == case_name && run.contestant == contestant && run.figures.converged) {
      values.push_back(m.of(run.figures));
    }
  }
  return summarize(values);
}

std::optional<Summary> Results::ratio(const std::string& case_name, Contestant a, Contestant b,
                                      const Metric& m) const {
  std::vector<double> values;
  for (const Run& left : runs_) {
    if (left.case_name != case_name || left.contestant != a || !left.figures.converged) continue;
    for (const Run& right : runs_) {
      if (right.case_name != case_name || right.contestant != b || right.round != left.round ||
          !right.figures.converged || m.of(right.figures) <= 0) {
        continue;
      }
      values.push_back(m.of(left.figures) / m.of(right.figures));
    }
  }
  if (values.empty()) return std::nullopt;
  return summarize(values);
}

}  // namespace godwit::bench
