#include "vmm/memory/host_memory.h"

#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace godwit::vmm {
namespace {

// The value of a line "NAME:   123 kB".
std::optional<uint64_t> kibibytes(std::string_view meminfo, std::string_view name) {
  while (!meminfo.empty()) {
    const std::string_view line = meminfo.substr(0, meminfo.find('\n'));
    meminfo.remove_prefix(std::min(line.size() + 1, meminfo.size()));
    if (!line.starts_with(name) || !line.substr(name.size()).starts_with(':')) continue;
    const size_t begin = line.find_first_of("0123456789", name.size());
    if (begin == std::string_view::npos) return {};
    uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(line.data() + begin, line.data() + line.size(), value);
    if (error != std::errc{} || value > (~uint64_t{0} >> 12)) return {};
    return value;
  }
  return {};
}

}  // namespace

Result<ByteCount> available_memory(std::string_view meminfo) {
  const auto available = kibibytes(meminfo, "MemAvailable");
  if (!available) return Error{Errc::kUnsupported, "/proc/meminfo does not say MemAvailable"};
  return ByteCount{(*available + kibibytes(meminfo, "SwapFree").value_or(0)) << 10};
}

Result<ByteCount> available_memory() {
  std::ostringstream text;
  text << std::ifstream("/proc/meminfo").rdbuf();
  return available_memory(text.view());
}

}  // namespace godwit::vmm
