#include "tools/godwit/report/baseline.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "tools/godwit/report/cpu_json.h"
#include "vmm/base/check.h"
#include "vmm/x86/cpu_baseline.h"

namespace godwit::tools {
namespace json = boost::json;
namespace x86 = vmm::x86;
namespace {

struct Host {
  std::string name;
  std::vector<std::string> abilities;
  std::set<std::string> set;
  uint32_t address_bits = 0;
};

Host describe(std::string name, const x86::HostCpu& cpu) {
  Host host;
  host.name = std::move(name);
  host.abilities = x86::abilities(cpu);
  host.set.insert(host.abilities.begin(), host.abilities.end());
  host.address_bits = x86::physical_address_bits(cpu.best.cpuid);
  return host;
}

Result<> check_vendors(std::span<const NamedCpu> hosts) {
  const std::string first = x86::vendor_of(hosts.front().cpu.best.cpuid);
  std::string list;
  bool mixed = false;
  for (const NamedCpu& host : hosts) {
    const std::string vendor = x86::vendor_of(host.cpu.best.cpuid);
    mixed = mixed || vendor != first;
    list += fmt::format("\n{} has \"{}\"", host.host, vendor);
  }
  if (!mixed) return {};
  return make_error(Errc::kIncompatible,
                    "the hosts' CPUs are of different vendors, between which no guest can move: "
                    "make a baseline of each vendor's hosts{}",
                    list);
}

// What `host` has beyond the baseline, in groups of the same hosts that lack it.
void add_left_out(const Host& host, std::span<const Host> hosts, const Host& baseline,
                  std::vector<LeftOut>& result) {
  std::map<std::vector<std::string>, std::vector<std::string>> groups;
  const auto names_of = [&](auto&& lacks) {
    std::vector<std::string> names;
    for (const Host& other : hosts) {
      if (lacks(other)) names.push_back(other.name);
    }
    return names;
  };
  for (const std::string& ability : host.abilities) {
    if (baseline.set.contains(ability)) continue;
    groups[names_of([&](const Host& other) { return !other.set.contains(ability); })].push_back(
        ability);
  }
  if (host.address_bits > baseline.address_bits) {
    groups[names_of([&](const Host& o) { return o.address_bits == baseline.address_bits; })]
        .push_back(fmt::format("addressing beyond {} physical bits", baseline.address_bits));
  }
  for (auto& [lacking, what] : groups) result.push_back({host.name, std::move(what), lacking});
}

void add_tsc_warnings(std::span<const NamedCpu> hosts, Baseline& baseline) {
  const x86::CpuProfile& cpu = baseline.cpu.best;
  for (const NamedCpu& host : hosts) {
    const uint64_t ppm = x86::tsc_distance_ppm(cpu, host.cpu);
    if (ppm <= x86::kTscTolerancePpm) continue;
    baseline.warnings.push_back(
        fmt::format("{}: its TSC runs at {} kHz and cannot be scaled, the baseline's at {} kHz "
                    "({} ppm apart, {} allowed): that host will refuse guests with this baseline",
                    host.host, host.cpu.best.tsc_khz, cpu.tsc_khz, ppm, x86::kTscTolerancePpm));
  }
}

json::array strings(std::span<const std::string> texts) {
  json::array array;
  for (const std::string& text : texts) array.emplace_back(text);
  return array;
}

}  // namespace

Result<Baseline> make_baseline(std::span<const NamedCpu> hosts) {
  GODWIT_CHECK(!hosts.empty(), "a baseline of no hosts");
  GODWIT_TRY(check_vendors(hosts));
  Baseline baseline;
  baseline.cpu = x86::canonical(hosts.front().cpu);
  std::vector<Host> described;
  for (const NamedCpu& host : hosts) {
    GODWIT_ASSIGN(baseline.cpu, x86::common_cpu(baseline.cpu, host.cpu));
    described.push_back(describe(host.host, x86::canonical(host.cpu)));
  }
  const Host common = describe("", baseline.cpu);
  for (const Host& host : described) add_left_out(host, described, common, baseline.left_out);
  add_tsc_warnings(hosts, baseline);
  return baseline;
}

std::string format_left_out(const Baseline& baseline) {
  std::string text;
  for (const LeftOut& group : baseline.left_out) {
    const bool one = group.what.size() == 1;
    text += fmt::format("{}: {} {} left out: ", group.host, fmt::join(group.what, ", "),
                        one ? "is" : "are");
    if (group.lacking.empty()) {
      text += fmt::format("the hosts differ in {0}, or what {1} is left out\n", one ? "it" : "them",
                          one ? "it needs" : "they need");
    } else {
      text += fmt::format("{} {} {}\n", fmt::join(group.lacking, ", "),
                          group.lacking.size() == 1 ? "lacks" : "lack", one ? "it" : "them");
    }
  }
  for (const std::string& warning : baseline.warnings) text += "warning: " + warning + '\n';
  return text;
}

json::object to_json(const Baseline& baseline) {
  json::array left_out;
  for (const LeftOut& group : baseline.left_out) {
    left_out.push_back(json::object{
        {"host", group.host}, {"what", strings(group.what)}, {"lacking", strings(group.lacking)}});
  }
  return {{"cpu", to_json(baseline.cpu)},
          {"left-out", std::move(left_out)},
          {"warnings", strings(baseline.warnings)}};
}

}  // namespace godwit::tools
