#include "tools/godwit/report/migration_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "tools/godwit/text/table.h"
#include "tools/godwit/text/units.h"

namespace godwit::tools {
namespace {

using migration::MigrationResult;
using migration::Phase;
using migration::Progress;
using migration::Status;

constexpr size_t kRowsShown = 10;

std::string ms(Nanoseconds duration) {
  return fmt::format("{:.3f}", to_ms(duration));
}

// "  label          value"
std::string line(std::string_view label, const std::string& value) {
  return fmt::format("  {:<18}{}\n", label, value);
}

std::string iterations(const MigrationResult& r) {
  if (r.iterations.empty()) return "";
  Table table({">#", ">time", ">pages", ">zero", ">lz4", ">sent", ">rate", ">left dirty",
               ">dirtied/s", ">predicted"});
  const size_t rows = r.iterations.size();
  for (size_t at = 0; at < rows; ++at) {
    // A migration that went on for long: its beginning and its end say all.
    if (rows > 2 * kRowsShown && at == kRowsShown) {
      table.row({"...", "", "", "", "", "", "", "", "", ""});
      at = rows - kRowsShown;
    }
    const auto& i = r.iterations[at];
    table.row({fmt::format("{}", i.number), format_duration(i.duration),
               fmt::format("{}", i.normal_pages), fmt::format("{}", i.duplicate_pages),
               fmt::format("{}", i.lz4_pages), format_size(i.wire_bytes),
               format_bit_rate(i.wire_bytes_per_second), fmt::format("{}", i.dirty_pages_left),
               format_count(i.dirty_pages_per_second), format_duration(i.predicted_downtime)});
  }
  return "\nIterations\n" + table.text(2);
}

std::string compression(const Progress& p) {
  if (p.lz4_pages == 0 || p.lz4_bytes_out == 0) return "none";
  return fmt::format("lz4 on {} of {} pages, {} -> {}, ratio {:.2f}", p.lz4_pages, p.normal_pages,
                     format_size(p.lz4_bytes_in), format_size(p.lz4_bytes_out),
                     static_cast<double>(p.lz4_bytes_in) / static_cast<double>(p.lz4_bytes_out));
}

std::string transfer(const MigrationResult& r) {
  const Progress& p = r.progress;
  if (p.transferred_bytes == 0) return "";
  const double seconds = to_seconds(std::max(r.total_time, Nanoseconds(1)));
  std::string text = "\nTransfer\n";
  text += line("guest memory", fmt::format("{} ({} of it never touched: not read, not sent)",
                                           format_size(p.total_bytes),
                                           format_size(p.untouched_pages * p.page_size)));
  text += line("pages", fmt::format("{} with content, {} zero", p.normal_pages, p.duplicate_pages));
  if (p.free_pages != 0)
    text += line("free pages", fmt::format("{} that the guest says it does not use: {} left out",
                                           p.free_pages, format_size(p.free_pages * p.page_size)));
  text += line("on the wire",
               fmt::format("{}, {} of it while the guest stood still",
                           format_size(p.transferred_bytes), format_size(r.downtime_bytes)));
  text += line("compression", compression(p));
  text += line("throughput",
               fmt::format("{} on the wire, mean",
                           format_bit_rate(static_cast<double>(p.transferred_bytes) / seconds)));
  if (!r.peer.empty())
    text += line("connection",
                 fmt::format("{}, {} data channel{}, round trip {}", printable(r.peer), r.channels,
                             r.channels == 1 ? "" : "s", format_duration(r.round_trip)));
  text += line("source", fmt::format("{:.2f} s of CPU, {} send calls, {}", r.source_cpu_seconds,
                                     r.send_calls, printable(r.tracker)));
  return text;
}

std::string disks(const MigrationResult& r) {
  if (!r.progress.storage) return "";
  const migration::StorageProgress& s = *r.progress.storage;
  std::string text = "\nDisks\n";
  text += line("copied", fmt::format("{} disk{} of {}, the first pass in {}", s.volumes,
                                     s.volumes == 1 ? "" : "s", format_size(s.total_bytes),
                                     format_duration(s.first_pass)));
  text +=
      line("content", fmt::format("{} sent in {} passes, {} zero: not sent",
                                  format_size(s.data_bytes), s.passes, format_size(s.zero_bytes)));
  text +=
      line("on the wire", fmt::format("{}, beside the memory's", format_size(s.transferred_bytes)));
  text += line("last delta",
               fmt::format("{} while the guest stood still", format_size(s.last_delta_bytes)));
  return text;
}

std::string_view phase_text(Phase phase) {
  switch (phase) {
    case Phase::kStop:
      return "source: vCPUs out of the guest";
    case Phase::kQuiesce:
      return "source: devices quiet";
    case Phase::kSave:
      return "source: state saved";
    case Phase::kFinalHarvest:
      return "source: last dirty pages known";
    case Phase::kSend:
      return "last pages and state on their way";
    case Phase::kLoad:
      return "target: state loaded";
    case Phase::kCommit:
      return "ready and commit, one round trip";
    case Phase::kResume:
      return "target: first guest instruction";
  }
  return "";
}

std::string budget(const migration::DowntimeBudget& b) {
  std::string text =
      fmt::format("stop {}, save {}, final-harvest {}, pages {}, state {}, load {}", ms(b.stop),
                  ms(b.save), ms(b.harvest), ms(b.pages), ms(b.state), ms(b.load));
  text += fmt::format(", round trip {}", ms(b.round_trip));
  if (b.hash.count() > 0) text += fmt::format(", hash {}", ms(b.hash));
  return text;
}

std::string ledger(const MigrationResult& r) {
  if (!r.ledger) return "";
  std::string text = "\nDowntime ledger (ms)\n";
  for (size_t i = 0; i < migration::kPhases; ++i) {
    const auto phase = static_cast<Phase>(i);
    text += fmt::format("  {:<18}{:>10}  {}\n", migration::phase_name(phase),
                        ms(r.ledger->phases[i]), phase_text(phase));
  }
  text += fmt::format("  {:<18}{:>10}  predicted {}\n", "total", ms(r.ledger->total),
                      ms(r.predicted_downtime));
  if (r.budget) text += line("predicted from", budget(*r.budget));
  text += line("clocks", fmt::format("target - source = {} ms, at most {} ms off (shared by send "
                                     "and commit)",
                                     ms(r.ledger->clock_offset), ms(r.ledger->clock_offset_error)));
  if (r.rehearsal_stall.count() > 0)
    text += line("rehearsal", fmt::format("{} ms stand-still before, to measure the switchover",
                                          ms(r.rehearsal_stall)));
  return text;
}

std::string proof(const MigrationResult& r) {
  if (!r.verify) return "";
  const std::string hashes =
      fmt::format("source {:016x}, target {:016x}", r.verify->source_hash, r.verify->target_hash);
  return "\nVerification\n" +
         line("memory", (r.verify->equal ? "identical: " : "DIFFERENT: ") + hashes);
}

std::string whereabouts(const std::string& name, Status status) {
  switch (status) {
    case Status::kCompleted:
      return "";
    case Status::kUnknown:
      return fmt::format(
          "\n'{0}' is paused here and may run at the target. Make sure which, then either\n"
          "  godwit resume {0} --fenced   if it does not run there\n"
          "  godwit stop {0}              if it does\n",
          name);
    default:
      return "";
  }
}

}  // namespace

std::string format_outcome(const std::string& name, const MigrationResult& r) {
  const std::string why = r.error ? printable(r.error->message) : "no reason given";
  const std::string stall =
      r.stall_after_failure
          ? fmt::format("; it stood still for {}", format_duration(*r.stall_after_failure))
          : "";
  switch (r.progress.status) {
    case Status::kCompleted:
      return fmt::format("'{}' runs at the target: downtime {} ms, total {}", name,
                         ms(r.downtime.value_or(Nanoseconds(0))), format_duration(r.total_time));
    case Status::kCancelled:
      return fmt::format(
          "the migration of '{}' was cancelled, the guest runs on at the source{}: {}", name, stall,
          why);
    case Status::kUnknown:
      return fmt::format("the outcome of the migration of '{}' is unknown: {}", name, why);
    default:
      return fmt::format("the migration of '{}' failed, the guest runs on at the source{}: {}",
                         name, stall, why);
  }
}

std::string format_report(const std::string& name, const MigrationResult& r) {
  return format_outcome(name, r) + "\n" + whereabouts(name, r.progress.status) + iterations(r) +
         transfer(r) + disks(r) + ledger(r) + proof(r);
}

std::string format_progress(const Progress& p, size_t width) {
  std::string text(migration::status_name(p.status));
  if (p.status == Status::kSetup || p.total_bytes == 0) return text.substr(0, width);
  // Disks that come along are copied before the first page.
  const bool disks_first = p.storage && p.iteration == 0;
  const uint64_t total = disks_first ? p.storage->total_bytes : p.total_bytes;
  const uint64_t left = disks_first ? p.storage->remaining_bytes : p.remaining_bytes;
  const double done = 100.0 * (1.0 - static_cast<double>(std::min(left, total)) /
                                         static_cast<double>(std::max<uint64_t>(total, 1)));
  // In the order of importance: what does not fit is left out from the end.
  std::vector<std::string> parts{disks_first ? fmt::format("disks, pass {}", p.storage->passes)
                                             : fmt::format("iteration {}", p.iteration),
                                 fmt::format("{:.0f}%", done)};
  // Zero: not measured yet.
  if (p.wire_bytes_per_second > 0) parts.push_back(format_bit_rate(p.wire_bytes_per_second));
  if (p.dirty_pages_per_second > 0)
    parts.push_back(fmt::format("dirty {}{}pages/s", format_count(p.dirty_pages_per_second),
                                p.dirty_pages_per_second < 999.5 ? " " : ""));
  if (p.expected_downtime) parts.push_back("downtime " + format_duration(*p.expected_downtime));
  if (!p.converging)
    parts.emplace_back("does not converge");
  else if (p.time_left)
    parts.push_back(format_duration(*p.time_left) + " left");
  for (const std::string& part : parts)
    if (text.size() + 2 + part.size() <= width) text += "  " + part;
  return text.substr(0, width);
}

}  // namespace godwit::tools
