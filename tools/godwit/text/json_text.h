// JSON as text that people can read too.
#pragma once
#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

#include "vmm/base/clock.h"
#include "vmm/base/error.h"

namespace godwit::tools {

// On one line, without blanks. Unlike boost::json::serialize, which writes 0.5 as 5E-1, numbers
// stand as a person writes them (at most nine decimals); what JSON has no number for becomes null.
std::string to_text(const boost::json::value& value);
// The same over several lines, indented by two.
std::string to_pretty_text(const boost::json::value& value);

// A JSON object from outside. Errors: kInvalidArgument with the offset. Depth is capped at 16.
Result<boost::json::object> parse_object(std::string_view text);

// Milliseconds, exact to the nanosecond, as the API counts time.
double json_ms(Nanoseconds duration);

}  // namespace godwit::tools
