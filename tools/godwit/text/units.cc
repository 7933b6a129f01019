#include "tools/godwit/text/units.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>

namespace godwit::tools {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

// A number and what follows it.
struct Quantity {
  double number = 0;
  std::string_view unit;
};

Result<Quantity> split(std::string_view text, std::string_view what, std::string_view example) {
  Quantity result;
  const char* end = text.data() + text.size();
  const auto [rest, problem] =
      std::from_chars(text.data(), end, result.number, std::chars_format::fixed);
  if (problem != std::errc() || text.front() == '-' || !std::isfinite(result.number))
    return make_error(Errc::kInvalidArgument, "'{}' is no {}: write a number and a unit, as in {}",
                      text, what, example);
  result.unit = std::string_view(rest, static_cast<size_t>(end - rest));
  if (result.unit.empty() && result.number != 0)
    return make_error(Errc::kInvalidArgument, "'{}' has no unit: say which is meant, as in {}",
                      text, example);
  return result;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// An exact match wins over one that differs in case.
const Unit* find(std::span<const Unit> units, std::string_view name) {
  for (const Unit& unit : units)
    if (unit.name == name) return &unit;
  for (const Unit& unit : units)
    if (equal_ignoring_case(unit.name, name)) return &unit;
  return nullptr;
}

// A whole number of the smallest unit that fits `limit`.
Result<uint64_t> whole(double value, double limit, std::string_view text, std::string_view what) {
  if (value >= limit)
    return make_error(Errc::kInvalidArgument, "'{}' is too large for a {}", text, what);
  return static_cast<uint64_t>(std::llround(value));
}

constexpr double kKi = 1024, kMi = kKi * 1024, kGi = kMi * 1024, kTi = kGi * 1024;
constexpr double kInt64Limit = 9.2e18;

constexpr std::array<Unit, 14> kSizes{{{"", 1},
                                       {"B", 1},
                                       {"K", kKi},
                                       {"M", kMi},
                                       {"G", kGi},
                                       {"T", kTi},
                                       {"KiB", kKi},
                                       {"MiB", kMi},
                                       {"GiB", kGi},
                                       {"TiB", kTi},
                                       {"KB", 1e3},
                                       {"MB", 1e6},
                                       {"GB", 1e9},
                                       {"TB", 1e12}}};
constexpr std::array<Unit, 9> kDurations{{{"", 1},
                                          {"ns", 1},
                                          {"us", 1e3},
                                          {"µs", 1e3},
                                          {"ms", 1e6},
                                          {"s", 1e9},
                                          {"m", 60e9},
                                          {"min", 60e9},
                                          {"h", 3600e9}}};
constexpr std::array<Unit, 15> kBandwidths{{{"", 1},
                                            {"bit", 1.0 / 8},
                                            {"kbit", 1e3 / 8},
                                            {"Mbit", 1e6 / 8},
                                            {"Gbit", 1e9 / 8},
                                            {"Tbit", 1e12 / 8},
                                            {"B", 1},
                                            {"kB", 1e3},
                                            {"MB", 1e6},
                                            {"GB", 1e9},
                                            {"TB", 1e12},
                                            {"KiB", kKi},
                                            {"MiB", kMi},
                                            {"GiB", kGi},
                                            {"TiB", kTi}}};

}  // namespace

Result<ByteCount> parse_size(std::string_view text) {
  GODWIT_ASSIGN(const Quantity q, split(text, "size", "512M or 1.5G"));
  const Unit* unit = find(kSizes, q.unit);
  if (unit == nullptr)
    return make_error(Errc::kInvalidArgument,
                      "'{}' is no size: unknown unit '{}'; use K, M, G, T (powers of 1024) or KB, "
                      "MB, GB, TB (powers of 1000)",
                      text, q.unit);
  const double bytes = q.number * unit->factor;
  if (bytes != std::floor(bytes))
    return make_error(Errc::kInvalidArgument, "'{}' is no whole number of bytes", text);
  GODWIT_ASSIGN(const uint64_t value, whole(bytes, kInt64Limit, text, "size"));
  return ByteCount{value};
}

Result<Nanoseconds> parse_duration(std::string_view text) {
  GODWIT_ASSIGN(const Quantity q, split(text, "duration", "5ms or 1.5s"));
  const Unit* unit = find(kDurations, q.unit);
  if (unit == nullptr)
    return make_error(Errc::kInvalidArgument,
                      "'{}' is no duration: unknown unit '{}'; use ns, us, ms, s, min or h", text,
                      q.unit);
  GODWIT_ASSIGN(const uint64_t value,
                whole(q.number * unit->factor, kInt64Limit, text, "duration"));
  return Nanoseconds(static_cast<Nanoseconds::rep>(value));
}

Result<uint64_t> parse_bandwidth(std::string_view text) {
  GODWIT_ASSIGN(Quantity q, split(text, "bandwidth", "10Gbit or 125MB"));
  if (q.unit.ends_with("/s")) q.unit.remove_suffix(2);
  const bool bare = q.unit.size() == 1 &&
                    std::string_view("KMGTkmgt").find(q.unit.front()) != std::string_view::npos;
  if (bare)
    return make_error(Errc::kInvalidArgument,
                      "'{}' could be bits or bytes per second: say {}bit or {}B", text, q.unit,
                      q.unit);
  // "Mb" is megabits for some and a slip of the finger for "MB" for others.
  const bool small_b = q.unit.size() == 2 && q.unit.back() == 'b';
  const Unit* unit = small_b ? nullptr : find(kBandwidths, q.unit);
  if (unit == nullptr)
    return make_error(Errc::kInvalidArgument,
                      "'{}' is no bandwidth: unknown unit '{}'; use kbit, Mbit, Gbit, kB, MB, GB "
                      "(powers of 1000) or KiB, MiB, GiB (powers of 1024), per second",
                      text, q.unit);
  GODWIT_ASSIGN(const uint64_t value,
                whole(q.number * unit->factor, kInt64Limit, text, "bandwidth"));
  if (value == 0 && q.number != 0)
    return make_error(Errc::kInvalidArgument, "'{}' is less than a byte per second", text);
  return value;
}

}  // namespace godwit::tools
