// Option texts of the command line: "key=value,flag,key=value".
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"

namespace godwit::devices {

struct Option {
  std::string key;
  std::optional<std::string> value;  // none: a flag, written without '='
};

// Splits `text`. A comma inside of a value is written as two, as QEMU has it. `what` begins the
// error texts. Errors: kInvalidArgument for an empty option or key, a key given twice, or a zero
// byte.
Result<std::vector<Option>> split_options(std::string_view what, std::string_view text);

// "on" or "off"; a flag without a value is on.
Result<bool> parse_switch(std::string_view what, const Option& option);
// A decimal number in [low, high].
Result<uint64_t> parse_number(std::string_view what, const Option& option, uint64_t low,
                              uint64_t high);
// The value, which must be there and not empty.
Result<std::string> parse_text(std::string_view what, const Option& option);

}  // namespace godwit::devices
