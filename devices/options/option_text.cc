#include "devices/options/option_text.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace godwit::devices {
Result<OptionText> OptionText::parse(std::string_view text, std::string_view what,
                                     std::span<const std::string_view> known) {
  OptionText options(text, what);
  if (text.empty()) return options;
  GODWIT_ASSIGN(options.items_, split_options(what, text));
  for (const Option& item : options.items_) {
    if (std::ranges::find(known, item.key) == known.end()) {
      return options.error("", fmt::format("'{}' is not known; known are {} (two commas stand for "
                                           "one in a value)",
                                           item.key, fmt::join(known, ", ")));
    }
    if (item.value.value_or("").empty()) {
      return options.error("", fmt::format("{} has no value; write {}=VALUE", item.key, item.key));
    }
  }
  return options;
}

std::optional<std::string> OptionText::text(std::string_view key) const {
  const auto found = std::ranges::find(items_, key, &Option::key);
  if (found == items_.end()) return std::nullopt;
  return found->value;
}

Result<std::optional<uint64_t>> OptionText::number(std::string_view key, uint64_t least,
                                                   uint64_t most) const {
  const auto value = text(key);
  if (!value) return std::optional<uint64_t>();
  const auto number = parse_number(what_, {std::string(key), value}, least, most);
  if (!number) return error(key, fmt::format("is no whole number from {} to {}", least, most));
  return std::optional(*number);
}

Result<bool> OptionText::on_off(std::string_view key, bool otherwise) const {
  const auto value = text(key);
  if (!value) return otherwise;
  if (*value == "on") return true;
  if (*value == "off") return false;
  return error(key, "is neither on nor off");
}

Error OptionText::error(std::string_view key, std::string_view reason) const {
  const auto value = text(key);
  const std::string subject = value ? fmt::format("{}={} ", key, *value) : "";
  return make_error(Errc::kInvalidArgument, "{} '{}': {}{}", what_, whole_, subject, reason);
}

}  // namespace godwit::devices
