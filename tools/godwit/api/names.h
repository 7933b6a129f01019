// Enumerations and the names that users give their values.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/base/error.h"

namespace godwit::tools {

template <class T, size_t N>
using Names = std::array<std::pair<T, std::string_view>, N>;

template <class T, size_t N>
std::string_view name_of(const Names<T, N>& names, T value) {
  for (const auto& [candidate, name] : names)
    if (candidate == value) return name;
  return "unknown";
}

template <class T, size_t N>
Result<T> parse_name(const Names<T, N>& names, std::string_view text, std::string_view what) {
  std::string choices;
  for (const auto& [value, name] : names) {
    if (name == text) return value;
    choices += (choices.empty() ? "" : ", ") + std::string(name);
  }
  return make_error(Errc::kInvalidArgument, "'{}' is no {}: use one of {}", text, what, choices);
}

}  // namespace godwit::tools
