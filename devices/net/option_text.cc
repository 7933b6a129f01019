#include "devices/net/option_text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace godwit::devices {
namespace {

// Takes the text before the next single comma off `rest`, with two commas made one. Returns whether
// such a comma was there.
bool take_piece(std::string_view& rest, std::string& piece) {
  piece.clear();
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == ',') {
      if (rest.empty() || rest.front() != ',') return true;
      rest.remove_prefix(1);
    }
    piece += c;
  }
  return false;
}

}  // namespace

Result<OptionText> OptionText::parse(std::string_view text, std::string_view what,
                                     std::span<const std::string_view> known) {
  OptionText options(text, what);
  if (text.find('\0') != std::string_view::npos)
    return make_error(Errc::kInvalidArgument, "{}: the text holds a zero byte; remove it", what);
  std::string piece;
  for (bool more = !text.empty(); more;) {
    more = take_piece(text, piece);
    GODWIT_TRY(options.add(piece, known));
  }
  return options;
}

Result<> OptionText::add(std::string_view piece, std::span<const std::string_view> known) {
  const size_t equals = piece.find('=');
  const std::string_view key = piece.substr(0, equals);
  if (std::ranges::find(known, key) == known.end()) {
    return error("", fmt::format("'{}' is not known; known are {} (two commas stand for one in a "
                                 "value)",
                                 key, fmt::join(known, ", ")));
  }
  if (equals == std::string_view::npos || equals + 1 == piece.size())
    return error("", fmt::format("{} has no value; write {}=VALUE", key, key));
  if (text(key)) return error("", fmt::format("{} is given twice; give it once", key));
  items_.push_back({std::string(key), std::string(piece.substr(equals + 1))});
  return {};
}

std::optional<std::string> OptionText::text(std::string_view key) const {
  const auto found = std::ranges::find(items_, key, &Item::key);
  if (found == items_.end()) return std::nullopt;
  return found->value;
}

Result<std::optional<uint64_t>> OptionText::number(std::string_view key, uint64_t least,
                                                   uint64_t most) const {
  const auto value = text(key);
  if (!value) return std::optional<uint64_t>();
  uint64_t number = 0;
  const char* const end = value->data() + value->size();
  const auto [stop, problem] = std::from_chars(value->data(), end, number);
  if (problem != std::errc() || stop != end || number < least || number > most)
    return error(key, fmt::format("is no whole number from {} to {}", least, most));
  return std::optional(number);
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
