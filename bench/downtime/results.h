// All runs of a session and what they come to.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/downtime/run.h"
#include "bench/downtime/stats.h"

namespace godwit::bench {

struct Run {
  std::string case_name;
  Contestant contestant;
  unsigned round = 0;  // runs of one round stand side by side
  double load = 0;     // the host's load average when it began
  RunFigures figures;
};

// A figure of a run that is worth a summary.
struct Metric {
  const char* key;  // in JSON and CSV
  const char* title;
  const char* unit;
  double (*of)(const RunFigures&);
};
// blackout, gap, total, throughput, brownout, CPU times, wire.
const std::vector<Metric>& metrics();
const Metric& metric(std::string_view key);  // of metrics()

// About the machine and the session, for the head of every report.
struct SessionInfo {
  std::string date, machine, kernel, godwit_version, qemu_version, command, remarks;
};

class Results {
 public:
  explicit Results(SessionInfo info) : info_(std::move(info)) {}
  void add(Run run) { runs_.push_back(std::move(run)); }

  [[nodiscard]] const SessionInfo& info() const { return info_; }
  [[nodiscard]] const std::vector<Run>& runs() const { return runs_; }
  // In order of first appearance.
  [[nodiscard]] std::vector<std::string> case_names() const;
  [[nodiscard]] std::vector<Contestant> contestants(const std::string& case_name) const;

  struct Count {
    size_t converged = 0, runs = 0;
  };
  [[nodiscard]] Count count(const std::string& case_name, Contestant contestant) const;
  // Of the runs that converged.
  [[nodiscard]] Summary summary(const std::string& case_name, Contestant contestant,
                                const Metric& m) const;
  // a / b of each round in which both converged; their median is less moved by drift than a ratio
  // of medians. Nothing if there is none.
  [[nodiscard]] std::optional<Summary> ratio(const std::string& case_name, Contestant a,
                                             Contestant b, const Metric& m) const;

 private:
  SessionInfo info_;
  std::vector<Run> runs_;
};

// For people: a table per case.
std::string to_table(const Results& results);
// One line per run.
std::string to_csv(const Results& results);
// Everything: {"session": {...}, "cases": [...], "runs": [...]}.
std::string to_json(const Results& results);
// Blackout, total time and source CPU: a bar to the median and a dot per run, per case and VMM, on
// logarithmic axes.
std::string to_svg(const Results& results);

}  // namespace godwit::bench
