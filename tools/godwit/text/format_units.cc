#include <fmt/core.h>

#include <array>
#include <cmath>

#include "tools/godwit/text/units.h"

namespace godwit::tools {
namespace {

// Three significant digits: "1.25", "41.2", "812".
std::string three_digits(double v) {
  if (v < 9.995) return fmt::format("{:.2f}", v);
  if (v < 99.95) return fmt::format("{:.1f}", v);
  return fmt::format("{:.0f}", v);
}

}  // namespace

std::string format_size(uint64_t bytes) {
  constexpr std::array<const char*, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1023.5 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{} {}", three_digits(value), kUnits[unit]);
}

std::string format_duration(Nanoseconds duration) {
  const auto ns = duration.count();
  const double magnitude = std::fabs(static_cast<double>(ns));
  const char* sign = ns < 0 ? "-" : "";
  if (magnitude < 1000) return fmt::format("{} ns", ns);
  if (magnitude < 999.5e3) return fmt::format("{}{} us", sign, three_digits(magnitude / 1e3));
  if (magnitude < 999.5e6) return fmt::format("{}{} ms", sign, three_digits(magnitude / 1e6));
  if (magnitude < 99.95e9) return fmt::format("{}{} s", sign, three_digits(magnitude / 1e9));
  const auto seconds = std::llround(magnitude / 1e9);
  if (seconds < 3600) return fmt::format("{}{} m {:02} s", sign, seconds / 60, seconds % 60);
  return fmt::format("{}{} h {:02} m", sign, seconds / 3600, seconds % 3600 / 60);
}

std::string format_count(double count) {
  constexpr std::array<const char*, 4> kPrefixes{"k", "M", "G", "T"};
  if (count < 999.5) return fmt::format("{:.0f}", count);
  count /= 1000;
  size_t prefix = 0;
  for (; count >= 999.5 && prefix + 1 < kPrefixes.size(); ++prefix) count /= 1000;
  return fmt::format("{} {}", three_digits(count), kPrefixes[prefix]);
}

std::string format_bit_rate(double bytes_per_second) {
  const std::string count = format_count(bytes_per_second * 8);
  return count + (count.find(' ') == std::string::npos ? " bit/s" : "bit/s");
}

}  // namespace godwit::tools
