// A migration in the words of QEMU's `query-migrate`: what the API and --json say.
//
// Times are milliseconds with decimals (exact to the nanosecond), rates are pages or megabits per
// second, everything else is bytes or a count. The names that QEMU does not have: `ledger`,
// `iterations`, `verify`, `time-left`, `converging`, `error-code` and what describes the
// connection. openapi.json describes each of them.
#pragma once
#include <boost/json/fwd.hpp>

#include "migration/report.h"

namespace godwit::tools {

boost::json::object to_json(const migration::Progress& progress);
boost::json::object to_json(const migration::MigrationResult& result);

// The way back, for the client: bytes of a VMM that may be of another version, so what is missing
// keeps its default and what has the wrong type is an error (kCorrupt, naming the field).
Result<migration::Progress> progress_from_json(const boost::json::object& object);
Result<migration::MigrationResult> result_from_json(const boost::json::object& object);

// The code that errc_name() names so; kIo for a name that is none.
Errc errc_from_name(std::string_view name);

}  // namespace godwit::tools
