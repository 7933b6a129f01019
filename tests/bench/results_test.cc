#include "bench/downtime/results.h"

#include <algorithm>
#include <boost/json.hpp>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace godwit::bench {
namespace {

using testing::HasSubstr;

Run run_of(const std::string& name, Contestant who, unsigned round, double blackout_ms,
           bool converged = true) {
  Run run{name, who, round, 0.5, {}};
  run.figures.converged = converged;
  run.figures.blackout_ms = blackout_ms;
  run.figures.total_ms = 100 * blackout_ms;
  run.figures.ledger_ms["stop"] = blackout_ms / 2;
  if (!converged) run.figures.remark = "too \"fast\", by far";
  return run;
}

Results sample() {
  Results results({.date = "today", .machine = "a <machine> & more", .command = "x"});
  results.add(run_of("first", Contestant::kGodwit, 0, 1));
  results.add(run_of("first", Contestant::kQemu, 0, 4));
  results.add(run_of("first", Contestant::kGodwit, 1, 3));
  results.add(run_of("first", Contestant::kQemu, 1, 6));
  results.add(run_of("second", Contestant::kGodwit, 0, 2));
  results.add(run_of("second", Contestant::kQemu, 0, 0, false));
  return results;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Results, RatioIsTakenPairByPair) {
  const auto ratio =
      sample().ratio("first", Contestant::kGodwit, Contestant::kQemu, metric("blackout_ms"));
  ASSERT_TRUE(ratio);
  EXPECT_EQ(ratio->count, 2u);
  EXPECT_DOUBLE_EQ(ratio->min, 0.25);
  EXPECT_DOUBLE_EQ(ratio->max, 0.5);
}

TEST(Results, NoRatioWithoutAPairThatConverged) {
  EXPECT_FALSE(
      sample().ratio("second", Contestant::kGodwit, Contestant::kQemu, metric("blackout_ms")));
}

TEST(Results, RunsThatDidNotConvergeAreCountedButNotSummarised) {
  const Results results = sample();
  EXPECT_EQ(results.count("second", Contestant::kQemu).runs, 1u);
  EXPECT_EQ(results.count("second", Contestant::kQemu).converged, 0u);
  EXPECT_EQ(results.summary("second", Contestant::kQemu, metric("blackout_ms")).count, 0u);
}

TEST(Csv, EveryLineHasTheColumnsOfTheHead) {
  std::istringstream lines(to_csv(sample()));
  std::string line;
  std::getline(lines, line);
  const auto commas = std::ranges::count(line, ',');
  EXPECT_EQ(commas, static_cast<ptrdiff_t>(5 + metrics().size()));
  size_t runs = 0;
  while (std::getline(lines, line)) {
    ++runs;
    // The remark has a comma inside its quotes.
    EXPECT_EQ(std::ranges::count(line, ','), commas + (line.find("by far") != line.npos ? 1 : 0));
  }
  EXPECT_EQ(runs, 6u);
}

TEST(Csv, QuotesInsideTextAreDoubled) {
  EXPECT_THAT(to_csv(sample()), HasSubstr("\"too \"\"fast\"\", by far\""));
}

TEST(Json, HoldsSessionCasesAndRuns) {
  const auto value = boost::json::parse(to_json(sample()));
  EXPECT_EQ(value.at("session").at("machine").as_string(), "a <machine> & more");
  EXPECT_EQ(value.at("cases").as_array().size(), 2u);
  EXPECT_EQ(value.at("runs").as_array().size(), 6u);
  const auto& first = value.at("cases").at(0);
  EXPECT_EQ(first.at("contestants").at(0).at("blackout_ms").at("max").to_number<double>(), 3);
  EXPECT_EQ(first.at("godwit-over-qemu").at("blackout_ms").at("min").to_number<double>(), 0.25);
  EXPECT_EQ(value.at("runs").at(0).at("ledger_ms").at("stop").to_number<double>(), 0.5);
}

TEST(Table, NamesEveryCaseAndWhatDidNotConverge) {
  const std::string text = to_table(sample());
  EXPECT_THAT(text, HasSubstr("first"));
  EXPECT_THAT(text, HasSubstr("qemu: 0 of 1 runs converged"));
}

// Every tag is closed, attribute values are quoted, and text is escaped.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    EXPECT_EQ(std::ranges::count(tag, '"') % 2, 0) << tag;
    EXPECT_EQ(std::ranges::count(tag, '<'), 0) << tag;
    if (tag.starts_with("/")) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (!tag.ends_with("/")) {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  EXPECT_TRUE(open.empty());
}

TEST(Svg, IsWellFormedWithADotPerRunAndMetric) {
  const std::string svg = to_svg(sample());
  expect_well_formed(svg);
  EXPECT_THAT(svg, HasSubstr("a &lt;machine&gt; &amp; more"));
  EXPECT_THAT(svg, HasSubstr("did not converge"));
  EXPECT_EQ(count_of(svg, "<circle"), 5u * 2);  // source CPU is 0: not on a logarithmic axis
}

TEST(Svg, OfNothingIsWellFormedToo) {
  expect_well_formed(to_svg(Results({})));
}

}  // namespace
}  // namespace godwit::bench
