// Tables, CSV and JSON.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "bench/downtime/results.h"

namespace godwit::bench {
namespace json = boost::json;
namespace {

std::string csv_quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? std::string("\"\"") : std::string(1, c);
  return result + "\"";
}

std::string number(double value) {
  return fmt::format("{:.{}f}", value, value < 10 ? 3 : value < 1000 ? 1 : 0);
}

std::string case_table(const Results& results, const std::string& name) {
  std::string text = fmt::format("\n{}\n", name);
  const auto contestants = results.contestants(name);
  for (const Contestant who : contestants) {
    const auto [converged, runs] = results.count(name, who);
    text += fmt::format("  {}: {} of {} runs converged\n", contestant_name(who), converged, runs);
    if (converged == 0) continue;
    text += fmt::format("    {:<12} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "", "min", "p50", "p95",
                        "p99", "max");
    for (const Metric& m : metrics()) {
      const Summary s = results.summary(name, who, m);
      text +=
          fmt::format("    {:<12} {:>10} {:>10} {:>10} {:>10} {:>10} {}\n", m.title, number(s.min),
                      number(s.p50), number(s.p95), number(s.p99), number(s.max), m.unit);
    }
  }
  for (const char* key : {"blackout_ms", "guest_gap_ms", "total_ms", "whole_ms", "source_cpu_s"}) {
    const auto r = results.ratio(name, Contestant::kGodwit, Contestant::kQemu, metric(key));
    if (!r) continue;
    text +=
        fmt::format("  godwit / qemu, {:<11} {:.3f} at the median of {} pairs ({:.3f} to {:.3f})\n",
                    metric(key).title, r->p50, r->count, r->min, r->max);
  }
  return text;
}

json::object summary_json(const Summary& s) {
  return {{"min", s.min}, {"p50", s.p50}, {"p95", s.p95}, {"p99", s.p99}, {"max", s.max}};
}

json::object contestant_json(const Results& results, const std::string& name, Contestant who) {
  const auto [converged, runs] = results.count(name, who);
  json::object object{{"vmm", contestant_name(who)},
                      {"settings", contestant_settings(who)},
                      {"runs", runs},
                      {"converged", converged}};
  for (const Metric& m : metrics()) object[m.key] = summary_json(results.summary(name, who, m));
  return object;
}

json::object case_json(const Results& results, const std::string& name) {
  json::array contestants;
  for (const Contestant who : results.contestants(name))
    contestants.push_back(contestant_json(results, name, who));
  json::object ratios;
  for (const Metric& m : metrics()) {
    if (const auto r = results.ratio(name, Contestant::kGodwit, Contestant::kQemu, m)) {
      ratios[m.key] = summary_json(*r);
    }
  }
  return {{"name", name},
          {"contestants", std::move(contestants)},
          {"godwit-over-qemu", std::move(ratios)}};
}

json::object run_json(const Run& run) {
  json::object object{{"case", run.case_name},
                      {"vmm", contestant_name(run.contestant)},
                      {"round", run.round},
                      {"load", run.load},
                      {"converged", run.figures.converged},
                      {"remark", run.figures.remark}};
  for (const Metric& m : metrics()) object[m.key] = m.of(run.figures);
  json::object ledger;
  for (const auto& [phase, ms] : run.figures.ledger_ms) ledger[phase] = ms;
  object["ledger_ms"] = std::move(ledger);
  return object;
}

}  // namespace

std::string to_table(const Results& results) {
  const SessionInfo& info = results.info();
  std::string text = fmt::format("{}; {}; kernel {}\n{}; {}\n", info.date, info.machine,
                                 info.kernel, info.godwit_version, info.qemu_version);
  if (!info.remarks.empty()) text += info.remarks + "\n";
  for (const std::string& name : results.case_names()) text += case_table(results, name);
  return text;
}

std::string to_csv(const Results& results) {
  std::string text = "case,vmm,round,load,converged,remark";
  for (const Metric& m : metrics()) text += fmt::format(",{}", m.key);
  text += '\n';
  for (const Run& run : results.runs()) {
    text += fmt::format("{},{},{},{:.2f},{},{}", csv_quoted(run.case_name),
                        contestant_name(run.contestant), run.round, run.load,
                        run.figures.converged ? 1 : 0, csv_quoted(run.figures.remark));
    for (const Metric& m : metrics()) text += fmt::format(",{:.6g}", m.of(run.figures));
    text += '\n';
  }
  return text;
}

std::string to_json(const Results& results) {
  const SessionInfo& info = results.info();
  json::array cases;
  for (const std::string& name : results.case_names()) cases.push_back(case_json(results, name));
  json::array runs;
  for (const Run& run : results.runs()) runs.push_back(run_json(run));
  return json::serialize(json::object{{"session",
                                       {{"date", info.date},
                                        {"machine", info.machine},
                                        {"kernel", info.kernel},
                                        {"godwit", info.godwit_version},
                                        {"qemu", info.qemu_version},
                                        {"command", info.command},
                                        {"remarks", info.remarks}}},
                                      {"cases", std::move(cases)},
                                      {"runs", std::move(runs)}}) +
         "\n";
}

}  // namespace godwit::bench
