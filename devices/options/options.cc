#include "devices/options/options.h"

#include <algorithm>
#include <charconv>

namespace godwit::devices {
namespace {

// Takes the first item off `text`; two commas become one inside of it.
std::string take_item(std::string_view& text) {
  std::string item;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    if (text[i] == ',') {
      if (i + 1 == text.size() || text[i + 1] != ',') break;
      ++i;
    }
    item += text[i];
  }
  text.remove_prefix(i);
  return item;
}

}  // namespace

Result<std::vector<Option>> split_options(std::string_view what, std::string_view text) {
  std::vector<Option> options;
  if (text.find('\0') != std::string_view::npos) {
    return make_error(Errc::kInvalidArgument, "{}: the options hold a zero byte; remove it", what);
  }
  for (;;) {
    const std::string item = take_item(text);
    const size_t equals = item.find('=');
    Option option{item.substr(0, equals), std::nullopt};
    if (equals != std::string::npos) option.value = item.substr(equals + 1);
    if (option.key.empty()) {
      return make_error(Errc::kInvalidArgument,
                        "{}: '{}' holds no key; write key=value,key=value, and a comma inside of "
                        "a value as two",
                        what, item);
    }
    if (std::any_of(options.begin(), options.end(),
                    [&](const Option& other) { return other.key == option.key; })) {
      return make_error(Errc::kInvalidArgument, "{}: {} is given twice; give it once", what,
                        option.key);
    }
    options.push_back(std::move(option));
    if (text.empty()) return options;
    text.remove_prefix(1);
  }
}

Result<bool> parse_switch(std::string_view what, const Option& option) {
  if (!option.value || *option.value == "on") return true;
  if (*option.value == "off") return false;
  return make_error(Errc::kInvalidArgument, "{}: {}={} is neither on nor off", what, option.key,
                    *option.value);
}

Result<uint64_t> parse_number(std::string_view what, const Option& option, uint64_t low,
                              uint64_t high) {
  uint64_t number = 0;
  const std::string text = option.value.value_or("");
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (text.empty() || error != std::errc() || rest != end || number < low || number > high) {
    return make_error(Errc::kInvalidArgument, "{}: {}={} is no number from {} to {}", what,
                      option.key, text, low, high);
  }
  return number;
}

Result<std::string> parse_text(std::string_view what, const Option& option) {
  if (!option.value || option.value->empty()) {
    return make_error(Errc::kInvalidArgument, "{}: {} needs a value; write {}=...", what,
                      option.key, option.key);
  }
  return *option.value;
}

}  // namespace godwit::devices
