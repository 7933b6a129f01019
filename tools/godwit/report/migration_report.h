// A migration for people: what `godwit migrate` and tools/demo print at its end, and the lines that
// show how it is doing.
#pragma once
#include <string>

#include "migration/report.h"

namespace godwit::tools {

// Several sections of plain ASCII text, each line at most 100 columns (peers' names apart): the
// outcome, the iterations, bytes and compression, the downtime ledger with predicted against
// measured, the clock's error, the proof. Sections without content are left out.
std::string format_report(const std::string& name, const migration::MigrationResult& result);

// The verdict alone, one line without its end.
std::string format_outcome(const std::string& name, const migration::MigrationResult& result);

// One line about a migration under way, at most `width` columns; the least important parts go
// first when it is narrow.
std::string format_progress(const migration::Progress& progress, size_t width);

}  // namespace godwit::tools
