// The bodies of the API's requests and answers.
#pragma once
#include <boost/json/fwd.hpp>

#include "tools/godwit/api/guest.h"

namespace godwit::tools {

boost::json::object to_json(const GuestInfo& info, const MigrationNews& news);
// Errors of the readers: kInvalidArgument naming the field, also for a field that does not exist
// (a misspelt limit must not be ignored).
Result<GuestInfo> guest_info_from_json(const boost::json::object& object);

boost::json::object to_json(const MigrationRequest& request);
Result<MigrationRequest> migration_request_from_json(const boost::json::object& object);

// The result when there is one, the progress otherwise.
boost::json::object to_json(const MigrationNews& news);

// {"error": {"code": ..., "message": ...}} and back (kIo with the raw text if it is not that).
boost::json::object to_json(const Error& error);
Error error_from_json(const boost::json::object& object);

// The names of the enumerations, as on the command line.
std::string_view compression_name(migration::Compression compression);
Result<migration::Compression> parse_compression(std::string_view text);
std::string_view on_no_converge_name(migration::OnNoConverge action);
Result<migration::OnNoConverge> parse_on_no_converge(std::string_view text);

// Errors: kInvalidArgument for what no migration can be asked to do.
Result<> check_parameters(const migration::MigrationParameters& parameters);

}  // namespace godwit::tools
