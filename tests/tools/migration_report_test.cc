#include "tools/godwit/report/migration_report.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/tools/sample_migration.h"

namespace godwit::tools {
namespace {
using namespace std::chrono_literals;

// The file, or `text` itself after writing it there when GODWIT_UPDATE_GOLDEN is set.
std::string golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(GODWIT_GOLDEN_DIR) + "/" + name;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets it
  if (std::getenv("GODWIT_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

migration::MigrationResult ended_with(migration::Status status, Error error) {
  migration::MigrationResult result;
  result.progress.status = status;
  result.error = std::move(error);
  return result;
}

TEST(MigrationReport, CompletedWithEverything) {
  const std::string report = format_report("web", sample_result());
  EXPECT_EQ(report, golden("report_completed.txt", report));
}

TEST(MigrationReport, FailedAfterTheStopSaysHowLongTheGuestStood) {
  auto failed = ended_with(migration::Status::kFailed, {Errc::kIo, "the link broke"});
  failed.stall_after_failure = 3ms;
  const std::string report = format_report("web", failed);
  EXPECT_EQ(report, golden("report_failed.txt", report));
}

TEST(MigrationReport, UnknownOutcomeShowsBothWaysOut) {
  const std::string report = format_report(
      "web", ended_with(migration::Status::kUnknown, {Errc::kUnknownOutcome, "no answer"}));
  EXPECT_EQ(report, golden("report_unknown.txt", report));
}

TEST(MigrationReport, LedgerLinesAddUpToTheTotal) {
  std::istringstream lines(format_report("web", sample_result()));
  double sum = 0, total = 0;
  bool in_ledger = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Downtime ledger")) in_ledger = true;
    std::istringstream words(line);
    std::string name;
    double value = 0;
    if (!in_ledger || !(words >> name >> value)) continue;
    if (name == "total") {
      total = value;
      break;
    }
    sum += value;
  }
  EXPECT_GT(total, 0);
  EXPECT_NEAR(sum, total, 0.001 * migration::kPhases);
}

TEST(MigrationReport, OfManyIterationsTheFirstAndTheLastAreShown) {
  migration::MigrationResult r;
  for (uint32_t i = 1; i <= 256; ++i) r.iterations.push_back({.number = i});
  const std::string text = format_report("web", r);
  EXPECT_NE(text.find("\n    1  "), std::string::npos) << text;
  EXPECT_NE(text.find("\n  ...\n"), std::string::npos);
  EXPECT_NE(text.find("\n  256  "), std::string::npos);
  EXPECT_EQ(text.find("\n  128  "), std::string::npos);
}

TEST(MigrationReport, DifferentMemoryCannotBeOverlooked) {
  auto result = sample_result();
  result.verify->equal = false;
  EXPECT_NE(format_report("web", result).find("DIFFERENT"), std::string::npos);
}

TEST(MigrationReport, PeersBytesCannotSteerTheTerminal) {
  auto result = sample_result();
  result.peer = "evil\x1b[2Jhost";
  EXPECT_EQ(format_report("web", result).find('\x1b'), std::string::npos);
  const auto failed = ended_with(migration::Status::kFailed, {Errc::kIo, "\x1b]0;x\a"});
  EXPECT_EQ(format_report("web", failed).find('\x1b'), std::string::npos);
}

TEST(ProgressLine, ShowsWhatMattersAndFitsEveryWidth) {
  auto progress = sample_result().progress;
  progress.status = migration::Status::kActive;
  progress.remaining_bytes = progress.total_bytes / 4;
  progress.time_left = 1500ms;
  EXPECT_EQ(format_progress(progress, 200),
            "active  iteration 3  75%  10.0 Gbit/s  dirty 20.0 kpages/s  downtime 912 us  "
            "1.50 s left");
  for (size_t width = 0; width < 120; ++width)
    EXPECT_LE(format_progress(progress, width).size(), width);
  EXPECT_NE(format_progress(progress, 40).find("75%"), std::string::npos);
}

TEST(ProgressLine, SaysWhenAGuestDoesNotConverge) {
  auto progress = sample_result().progress;
  progress.status = migration::Status::kActive;
  progress.converging = false;
  EXPECT_NE(format_progress(progress, 200).find("does not converge"), std::string::npos);
}

TEST(ProgressLine, NothingIsKnownDuringSetup) {
  migration::Progress progress;
  progress.status = migration::Status::kSetup;
  EXPECT_EQ(format_progress(progress, 80), "setup");
}

}  // namespace
}  // namespace godwit::tools
