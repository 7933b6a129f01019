#include "tools/godwit/report/host_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>

#include "tools/godwit/report/cpu_json.h"

namespace godwit::tools {
namespace json = boost::json;

std::string format_host_report(const vmm::HostReport& report) {
  size_t width = 0;
  for (const auto& check : report.checks) width = std::max(width, check.name.size());
  constexpr size_t kMark = 7;
  std::string text;
  for (const auto& check : report.checks) {
    const char* mark = check.ok ? "ok" : check.required ? "MISSING" : "no";
    text += fmt::format("{:<{}}  {:<{}}  {}\n", mark, kMark, check.name, width, check.detail);
    if (!check.ok && !check.advice.empty())
      text += fmt::format("{:{}}-> {}\n", "", kMark + 2 + width + 2, check.advice);
  }
  return text + (report.usable() ? "\nThis host can run and migrate guests.\n"
                                 : "\nThis host cannot run guests: see what is MISSING above.\n");
}

json::object to_json(const vmm::HostReport& report) {
  json::array checks;
  for (const auto& check : report.checks)
    checks.push_back(json::object{{"name", check.name},
                                  {"ok", check.ok},
                                  {"required", check.required},
                                  {"detail", check.detail},
                                  {"advice", check.advice}});
  json::object object{{"usable", report.usable()}, {"checks", std::move(checks)}};
  if (report.cpu.empty()) return object;
  if (auto cpu = vmm::x86::decode_profile(report.cpu))
    object["cpu"] = to_json(vmm::x86::HostCpu{std::move(*cpu), report.tsc_scaling});
  return object;
}

}  // namespace godwit::tools
