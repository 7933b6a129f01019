#include "tools/godwit/report/migration_json.h"

#include <algorithm>
#include <array>

#include "tools/godwit/report/json_archive.h"

namespace godwit::tools {
namespace json = boost::json;
using migration::DowntimeBudget;
using migration::DowntimeLedger;
using migration::IterationReport;
using migration::MigrationResult;
using migration::Progress;
using migration::Status;
using migration::StorageProgress;
using migration::VerifyReport;

namespace {

constexpr std::array kStatuses{Status::kNone,      Status::kSetup,     Status::kActive,
                               Status::kDevice,    Status::kCompleted, Status::kCancelling,
                               Status::kCancelled, Status::kFailed,    Status::kUnknown};
constexpr std::array kCodes{Errc::kInvalidArgument, Errc::kNotFound,      Errc::kAlreadyExists,
                            Errc::kPermission,      Errc::kUnsupported,   Errc::kIncompatible,
                            Errc::kCorrupt,         Errc::kProtocol,      Errc::kIo,
                            Errc::kTimeout,         Errc::kCancelled,     Errc::kExhausted,
                            Errc::kPrecondition,    Errc::kUnknownOutcome};

double megabits(double bytes_per_second) {
  return bytes_per_second * 8 / 1e6;
}

double per_second(uint64_t count, Nanoseconds duration) {
  return duration.count() > 0 ? static_cast<double>(count) / to_seconds(duration) : 0;
}

// A value whose JSON form is another one: `text` is written from it, or it is set from what was
// read.
template <class Archive>
void status_field(Archive& archive, Status& status) {
  std::string text(migration::status_name(status));
  archive.value("status", text);
  const auto* found =
      std::ranges::find_if(kStatuses, [&](Status s) { return migration::status_name(s) == text; });
  if constexpr (Archive::kReads) status = found != kStatuses.end() ? *found : Status::kUnknown;
}

template <class Archive>
void rate_field(Archive& archive, double& bytes_per_second) {
  double mbps = megabits(bytes_per_second);
  archive.value("mbps", mbps);
  if constexpr (Archive::kReads) bytes_per_second = mbps * 1e6 / 8;
}

template <class Archive>
void ram_fields(Archive& ram, Progress& p, uint64_t& downtime_bytes) {
  ram.value("transferred", p.transferred_bytes);
  ram.value("remaining", p.remaining_bytes);
  ram.value("total", p.total_bytes);
  ram.value("duplicate", p.duplicate_pages);
  ram.value("normal", p.normal_pages);
  ram.derived("normal-bytes", p.normal_pages * p.page_size);
  ram.value("untouched", p.untouched_pages);
  ram.value("free", p.free_pages);
  ram.value("dirty-pages-rate", p.dirty_pages_per_second);
  rate_field(ram, p.wire_bytes_per_second);
  ram.value("dirty-sync-count", p.iteration);
  ram.value("page-size", p.page_size);
  ram.derived("pages-per-second", per_second(p.normal_pages + p.duplicate_pages, p.elapsed));
  ram.derived("precopy-bytes", p.transferred_bytes - std::min(p.transferred_bytes, downtime_bytes));
  ram.value("downtime-bytes", downtime_bytes);
}

template <class Archive>
void storage_fields(Archive& disk, StorageProgress& s) {
  disk.value("disks", s.volumes);
  disk.value("total", s.total_bytes);
  disk.value("remaining", s.remaining_bytes);
  disk.value("transferred", s.transferred_bytes);
  disk.value("normal-bytes", s.data_bytes);
  disk.value("zero-bytes", s.zero_bytes);
  disk.value("dirty-sync-count", s.passes);
  disk.value("first-pass", s.first_pass);
  disk.value("downtime-bytes", s.last_delta_bytes);
}

template <class Archive>
void progress_fields(Archive& archive, Progress& p, uint64_t& downtime_bytes) {
  status_field(archive, p.status);
  archive.value("total-time", p.elapsed);
  archive.value("setup-time", p.setup_time);
  archive.optional("expected-downtime", p.expected_downtime);
  archive.optional("time-left", p.time_left);
  archive.value("converging", p.converging);
  archive.object("ram", [&](auto& ram) { ram_fields(ram, p, downtime_bytes); });
  archive.object("compression", [&](auto& c) {
    c.value("pages", p.lz4_pages);
    c.value("uncompressed-size", p.lz4_bytes_in);
    c.value("compressed-size", p.lz4_bytes_out);
    c.derived("compression-rate", p.lz4_bytes_out > 0 ? static_cast<double>(p.lz4_bytes_in) /
                                                            static_cast<double>(p.lz4_bytes_out)
                                                      : 0.0);
  });
  archive.optional_object("disk", p.storage,
                          [](auto& disk, StorageProgress& s) { storage_fields(disk, s); });
}

template <class Archive>
void ledger_fields(Archive& archive, DowntimeLedger& ledger) {
  for (size_t i = 0; i < migration::kPhases; ++i)
    archive.value(migration::phase_name(static_cast<migration::Phase>(i)), ledger.phases[i]);
  archive.value("total", ledger.total);
  archive.value("clock-offset", ledger.clock_offset);
  archive.value("clock-offset-error", ledger.clock_offset_error);
}

template <class Archive>
void budget_fields(Archive& archive, DowntimeBudget& budget) {
  archive.value("stop", budget.stop);
  archive.value("save", budget.save);
  archive.value("final-harvest", budget.harvest);
  archive.value("pages", budget.pages);
  archive.value("state", budget.state);
  archive.value("load", budget.load);
  archive.value("round-trip", budget.round_trip);
  archive.value("hash", budget.hash);
}

template <class Archive>
void iteration_fields(Archive& archive, IterationReport& i) {
  archive.value("iteration", i.number);
  archive.value("duration", i.duration);
  archive.value("normal", i.normal_pages);
  archive.value("duplicate", i.duplicate_pages);
  archive.value("compressed", i.lz4_pages);
  archive.value("transferred", i.wire_bytes);
  archive.value("dirty-pages-left", i.dirty_pages_left);
  rate_field(archive, i.wire_bytes_per_second);
  archive.value("dirty-pages-rate", i.dirty_pages_per_second);
  archive.value("expected-downtime", i.predicted_downtime);
}

template <class Archive>
void verify_fields(Archive& archive, VerifyReport& verify) {
  archive.value("equal", verify.equal);
  archive.hex("source-hash", verify.source_hash);
  archive.hex("target-hash", verify.target_hash);
}

template <class Archive>
void error_fields(Archive& archive, std::optional<Error>& error) {
  std::optional<std::string> code, text;
  if (error) {
    code = std::string(errc_name(error->code));
    text = error->message;
  }
  archive.optional("error-code", code);
  archive.optional("error-desc", text);
  if constexpr (Archive::kReads) {
    if (!text) return;
    error = Error{errc_from_name(code.value_or("")), *text};
  }
}

template <class Archive>
void connection_fields(Archive& archive, MigrationResult& r) {
  archive.value("peer", r.peer);
  archive.value("protocol", r.protocol);
  archive.value("multifd-channels", r.channels);
  archive.value("dirty-tracking", r.tracker);
  archive.value("round-trip", r.round_trip);
  archive.value("send-calls", r.send_calls);
  archive.value("source-cpu-seconds", r.source_cpu_seconds);
}

template <class Archive>
void result_fields(Archive& archive, MigrationResult& r) {
  progress_fields(archive, r.progress, r.downtime_bytes);
  archive.value("total-time", r.total_time);
  archive.optional("downtime", r.downtime);
  archive.value("predicted-downtime", r.predicted_downtime);
  archive.optional_object("budget", r.budget,
                          [](auto& a, DowntimeBudget& budget) { budget_fields(a, budget); });
  archive.value("rehearsal-stall", r.rehearsal_stall);
  archive.optional("stall-after-failure", r.stall_after_failure);
  error_fields(archive, r.error);
  connection_fields(archive, r);
  archive.optional_object("ledger", r.ledger,
                          [](auto& a, DowntimeLedger& ledger) { ledger_fields(a, ledger); });
  archive.array("iterations", r.iterations,
                [](auto& a, IterationReport& i) { iteration_fields(a, i); });
  archive.optional_object("verify", r.verify,
                          [](auto& a, VerifyReport& verify) { verify_fields(a, verify); });
}

}  // namespace

Errc errc_from_name(std::string_view name) {
  const auto* found = std::ranges::find_if(kCodes, [&](Errc c) { return errc_name(c) == name; });
  return found != kCodes.end() ? *found : Errc::kIo;
}

json::object to_json(const Progress& progress) {
  json::object object;
  JsonWriter archive(object);
  Progress copy = progress;
  uint64_t downtime_bytes = 0;
  progress_fields(archive, copy, downtime_bytes);
  return object;
}

json::object to_json(const MigrationResult& result) {
  json::object object;
  JsonWriter archive(object);
  MigrationResult copy = result;
  copy.progress.elapsed = result.total_time;
  result_fields(archive, copy);
  return object;
}

Result<Progress> progress_from_json(const json::object& object) {
  std::optional<Error> error;
  JsonReader archive(object, error);
  Progress progress;
  uint64_t downtime_bytes = 0;
  progress_fields(archive, progress, downtime_bytes);
  if (error) return *error;
  return progress;
}

Result<MigrationResult> result_from_json(const json::object& object) {
  std::optional<Error> error;
  JsonReader archive(object, error);
  MigrationResult result;
  result_fields(archive, result);
  if (error) return *error;
  result.progress.elapsed = result.total_time;
  return result;
}

}  // namespace godwit::tools
