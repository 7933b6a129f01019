#include "tools/godwit/report/cpu_json.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <charconv>
#include <optional>

#include "tools/godwit/text/json_text.h"
#include "vmm/base/fd.h"
#include "vmm/x86/cpu_baseline.h"
#include "vmm/x86/cpu_models.h"
#include "vmm/x86/features.h"

namespace godwit::tools {
namespace json = boost::json;
namespace x86 = vmm::x86;
namespace {

constexpr size_t kMaxCpuidEntries = x86::kMaxCpuidEntries - 8;  // as decode_profile()
constexpr size_t kMaxMsrs = 1024;
constexpr uint32_t kMaxXsaveBytes = 64u << 10;
constexpr const char* kAdvice =
    "make the file anew, with `godwit check --json` on that host or `godwit cpu-baseline`";

std::string hex(uint64_t value) {
  return fmt::format("{:#x}", value);
}

// The fields of one object of the file. The first error is kept; what is read after it is zero.
class Fields {
 public:
  Fields(const json::object& object, std::string path, std::string_view file,
         std::optional<Error>& error)
      : object_(object), path_(std::move(path)), file_(file), error_(error) {}

  [[nodiscard]] bool has(std::string_view key) const { return object_.contains(key); }

  template <class... Args>
  void fail(std::string_view key, fmt::format_string<Args...> format, Args&&... args) {
    if (error_) return;
    const std::string problem = fmt::vformat(format, fmt::make_format_args(args...));
    error_ = make_error(Errc::kCorrupt, "{}: {}.{} {}; {}", file_, path_, key, problem, kAdvice);
  }
  const json::value* get(std::string_view key) {
    const json::value* value = object_.if_contains(key);
    if (value == nullptr) fail(key, "is missing");
    return value;
  }
  uint64_t number(std::string_view key, uint64_t least, uint64_t most) {
    const json::value* value = get(key);
    if (value == nullptr) return 0;
    boost::system::error_code problem;
    const auto n = value->to_number<uint64_t>(problem);
    if (!problem && n >= least && n <= most) return n;
    fail(key, "is no whole number from {} to {}", least, most);
    return 0;
  }
  bool flag(std::string_view key) {
    const json::value* value = get(key);
    if (value != nullptr && !value->is_bool()) fail(key, "is neither true nor false");
    return value != nullptr && value->is_bool() && value->get_bool();
  }
  uint64_t hexadecimal(std::string_view key, uint64_t most) {
    const json::value* value = get(key);
    return value == nullptr ? 0 : hexadecimal(key, *value, most);
  }
  uint64_t hexadecimal(std::string_view key, const json::value& value, uint64_t most) {
    const json::string* text = value.if_string();
    uint64_t n = 0;
    if (text != nullptr && text->starts_with("0x") && text->size() <= 18) {
      const char* end = text->data() + text->size();
      const auto [stop, problem] = std::from_chars(text->data() + 2, end, n, 16);
      if (problem == std::errc() && stop == end && n <= most) return n;
    }
    fail(key, "is no number up to {:#x} in hexadecimal, such as \"0x1f\"", most);
    return 0;
  }
  // Nothing when it is missing, no array, or too long.
  const json::array* array(std::string_view key, size_t most) {
    const json::value* value = get(key);
    if (value == nullptr) return nullptr;
    const json::array* items = value->if_array();
    if (items != nullptr && items->size() <= most) return items;
    fail(key, "is no array of at most {} elements", most);
    return nullptr;
  }

 private:
  const json::object& object_;
  std::string path_;
  std::string_view file_;
  std::optional<Error>& error_;
};

void read_cpuid(Fields& cpu, std::string_view file, std::optional<Error>& error,
                x86::CpuidTable& table) {
  const json::array* items = cpu.array("cpuid", kMaxCpuidEntries);
  for (size_t i = 0; items != nullptr && i < items->size() && !error; ++i) {
    const std::string key = fmt::format("cpuid[{}]", i);
    const json::object* item = (*items)[i].if_object();
    if (item == nullptr) return cpu.fail(key, "is no object");
    Fields fields(*item, "cpu." + key, file, error);
    x86::CpuidEntry entry;
    entry.function = static_cast<uint32_t>(fields.hexadecimal("leaf", UINT32_MAX));
    entry.index_significant = fields.has("subleaf");
    if (entry.index_significant) {
      entry.index = static_cast<uint32_t>(fields.number("subleaf", 0, UINT32_MAX));
    }
    entry.eax = static_cast<uint32_t>(fields.hexadecimal("eax", UINT32_MAX));
    entry.ebx = static_cast<uint32_t>(fields.hexadecimal("ebx", UINT32_MAX));
    entry.ecx = static_cast<uint32_t>(fields.hexadecimal("ecx", UINT32_MAX));
    entry.edx = static_cast<uint32_t>(fields.hexadecimal("edx", UINT32_MAX));
    const bool twice = std::any_of(table.begin(), table.end(), [&](const x86::CpuidEntry& e) {
      return e.function == entry.function &&
             (e.index == entry.index || !e.index_significant || !entry.index_significant);
    });
    if (twice) fields.fail("leaf", "{:#x} is there already", entry.function);
    table.push_back(entry);
  }
}

void read_msrs(Fields& cpu, std::vector<uint32_t>& msrs) {
  const json::array* items = cpu.array("msrs", kMaxMsrs);
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    const std::string key = fmt::format("msrs[{}]", i);
    const auto msr = static_cast<uint32_t>(cpu.hexadecimal(key, (*items)[i], UINT32_MAX));
    if (std::find(msrs.begin(), msrs.end(), msr) != msrs.end()) {
      return cpu.fail(key, "{:#x} is there already", msr);
    }
    msrs.push_back(msr);
  }
}

// What must agree with CPUID.
void check_consistency(Fields& cpu, const x86::CpuProfile& profile) {
  const x86::CpuidTable& table = profile.cpuid;
  if (x86::find_entry(table, 0) == nullptr || x86::find_entry(table, 1) == nullptr) {
    return cpu.fail("cpuid", "lacks leaf 0x0 or 0x1");
  }
  const json::value* vendor = cpu.get("vendor");
  if (vendor == nullptr) return;
  if (!vendor->is_string() || vendor->get_string() != json::string(x86::vendor_of(table))) {
    cpu.fail("vendor", "is not \"{}\" as leaf 0x0 of cpu.cpuid says", x86::vendor_of(table));
  }
  if (profile.xcr0 != x86::xcr0_of(table)) {
    cpu.fail("xcr0", "is {:#x}, leaf 0xd of cpu.cpuid says {:#x}", profile.xcr0,
             x86::xcr0_of(table));
  }
  if (const uint32_t needed = x86::xsave_bytes_of(table, profile.xcr0);
      profile.xsave_bytes < needed) {
    cpu.fail("xsave-bytes", "is {}, the components of leaf 0xd need {}", profile.xsave_bytes,
             needed);
  }
}

Result<x86::HostCpu> read_cpu(const json::object& object, std::string_view file) {
  std::optional<Error> error;
  Fields fields(object, "cpu", file, error);
  const uint64_t format = fields.number("format", 1, UINT32_MAX);
  if (!error && format != kCpuFormat) {
    return make_error(Errc::kIncompatible,
                      "{}: cpu.format is {}, this godwit knows {}: use the release of godwit that "
                      "wrote it",
                      file, format, kCpuFormat);
  }
  x86::HostCpu cpu;
  read_cpuid(fields, file, error, cpu.best.cpuid);
  cpu.best.xcr0 = fields.hexadecimal("xcr0", UINT64_MAX);
  cpu.best.xsave_bytes = static_cast<uint32_t>(fields.number("xsave-bytes", 4096, kMaxXsaveBytes));
  cpu.best.tsc_khz = static_cast<uint32_t>(fields.number("tsc-khz", 1, UINT32_MAX));
  cpu.best.tsc_offset = fields.flag("tsc-offset");
  cpu.tsc_scaling = fields.flag("tsc-scaling");
  if (fields.has("arch-capabilities")) {
    cpu.best.arch_capabilities = fields.hexadecimal("arch-capabilities", UINT64_MAX);
  }
  read_msrs(fields, cpu.best.msrs);
  if (!error) check_consistency(fields, cpu.best);
  if (error) return *error;
  return cpu;
}

json::array cpuid_json(const x86::CpuidTable& table) {
  json::array entries;
  for (const x86::CpuidEntry& entry : x86::without_zeros(table)) {
    json::object item{{"leaf", hex(entry.function)}};
    if (entry.index_significant) item["subleaf"] = entry.index;
    item["eax"] = hex(entry.eax);
    item["ebx"] = hex(entry.ebx);
    item["ecx"] = hex(entry.ecx);
    item["edx"] = hex(entry.edx);
    entries.push_back(std::move(item));
  }
  return entries;
}

json::array feature_names(const x86::CpuidTable& table) {
  json::array names;
  for (const x86::FeatureWord& word : x86::feature_words()) {
    const uint32_t value = x86::value_of(table, word.function, word.index, word.which);
    for (unsigned bit = 0; bit < 32; ++bit) {
      const bool named = word.names[bit] != nullptr;
      if (named && (value >> bit & 1) != 0) names.emplace_back(word.names[bit]);
    }
  }
  return names;
}

Result<std::string> read_bounded(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return error_from_errno(errno, fmt::format("{} cannot be opened", path));
  std::string text(kMaxCpuFileBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = ::read(fd.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, fmt::format("{} cannot be read", path));
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  if (size > kMaxCpuFileBytes) {
    return make_error(Errc::kCorrupt, "{}: more than {} bytes: this is no CPU of a host; {}", path,
                      kMaxCpuFileBytes, kAdvice);
  }
  text.resize(size);
  return text;
}

}  // namespace

json::object to_json(const x86::HostCpu& cpu) {
  const x86::CpuProfile& profile = cpu.best;
  const auto signature = x86::signature_of(x86::value_of(profile.cpuid, 1, 0, x86::Register::kEax));
  json::object object{{"format", kCpuFormat},
                      {"vendor", x86::vendor_of(profile.cpuid)},
                      {"family", signature.family},
                      {"model", signature.model},
                      {"stepping", signature.stepping},
                      {"physical-address-bits", x86::physical_address_bits(profile.cpuid)},
                      {"features", feature_names(profile.cpuid)},
                      {"xcr0", hex(profile.xcr0)},
                      {"xsave-bytes", profile.xsave_bytes}};
  if (profile.arch_capabilities) object["arch-capabilities"] = hex(*profile.arch_capabilities);
  object["tsc-khz"] = profile.tsc_khz;
  object["tsc-scaling"] = cpu.tsc_scaling;
  object["tsc-offset"] = profile.tsc_offset;
  json::array msrs;
  for (const uint32_t msr : profile.msrs) msrs.emplace_back(hex(msr));
  object["msrs"] = std::move(msrs);
  object["cpuid"] = cpuid_json(profile.cpuid);
  return object;
}

Result<x86::HostCpu> parse_cpu(std::string_view text, std::string_view file) {
  const auto document = parse_object(text);
  if (!document) {
    return make_error(Errc::kCorrupt, "{}: {}; {}", file, document.error().message, kAdvice);
  }
  const json::value* cpu = document->if_contains("cpu");
  if (cpu == nullptr) {
    return make_error(
        Errc::kCorrupt,
        "{}: there is no \"cpu\": that host cannot run guests (its \"checks\" say why) "
        "or its godwit is too old; {}",
        file, kAdvice);
  }
  if (!cpu->is_object()) {
    return make_error(Errc::kCorrupt, "{}: \"cpu\" is no object; {}", file, kAdvice);
  }
  return read_cpu(cpu->get_object(), file);
}

Result<x86::HostCpu> read_cpu_file(const std::string& path) {
  GODWIT_ASSIGN(const std::string text, read_bounded(path));
  return parse_cpu(text, path);
}

}  // namespace godwit::tools
