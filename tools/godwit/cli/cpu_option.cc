#include "tools/godwit/cli/cpu_option.h"

#include "tools/godwit/api/names.h"
#include "tools/godwit/report/cpu_json.h"
#include "vmm/x86/feature_rules.h"

namespace godwit::tools {
namespace {

using vmm::CpuModel;

constexpr Names<CpuModel, 3> kCpuModels{{{CpuModel::kHost, "host"},
                                         {CpuModel::kX86_64_v2, "x86-64-v2"},
                                         {CpuModel::kX86_64_v3, "x86-64-v3"}}};
constexpr std::string_view kBaseline = "baseline=";

Result<std::vector<std::string>> parse_without(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    if (!word.starts_with('-')) {
      return make_error(Errc::kInvalidArgument,
                        "'{}' is no feature to take away: use -NAME, such as x86-64-v3,-pcid",
                        word);
    }
    const std::string name(word.substr(1));
    GODWIT_TRY(vmm::x86::check_feature_name(name));
    names.push_back(name);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return names;
}

}  // namespace

Result<CpuChoice> parse_cpu_choice(const std::string& text) {
  CpuChoice choice;
  if (text.starts_with(kBaseline)) {
    choice.baseline = text.substr(kBaseline.size());
    if (!choice.baseline.empty()) return choice;
    return make_error(Errc::kInvalidArgument,
                      "baseline= needs a file, which `godwit cpu-baseline` makes");
  }
  const size_t comma = text.find(',');
  const auto model = parse_name(kCpuModels, text.substr(0, comma), "CPU model");
  if (!model) {
    return make_error(Errc::kInvalidArgument, "{}, baseline=FILE", model.error().message);
  }
  choice.model = *model;
  if (comma == std::string::npos) return choice;
  if (comma + 1 == text.size()) {
    return make_error(Errc::kInvalidArgument, "'{}' ends in a comma: use -NAME behind it", text);
  }
  GODWIT_ASSIGN(choice.without, parse_without(std::string_view(text).substr(comma + 1)));
  return choice;
}

void add_cpu_option(CLI::App& command, CpuChoice& choice) {
  add_parsed(
      command, "--cpu", choice, parse_cpu_choice, "MODEL", "host",
      "The CPU that the guest sees: host (all that this one has; the target of a migration must "
      "have it too), x86-64-v2 or x86-64-v3 (what any host of that level and vendor has), or "
      "baseline=FILE (exactly what several hosts have, from `godwit cpu-baseline`; refused where "
      "this host lacks something of it). Features of host, x86-64-v2 and x86-64-v3 are taken away "
      "by name, and with them what needs them: x86-64-v3,-pcid,-avx2. Names are those of "
      "/proc/cpuinfo.");
}

Result<> apply_cpu_choice(const CpuChoice& choice, vmm::VmConfig& config) {
  config.cpu_model = choice.model;
  config.cpu_without = choice.without;
  if (choice.baseline.empty()) return {};
  GODWIT_ASSIGN(const auto cpu, read_cpu_file(choice.baseline));
  config.cpu_baseline = vmm::x86::encode_profile(cpu.best);
  return {};
}

}  // namespace godwit::tools
