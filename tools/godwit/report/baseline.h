// What `godwit cpu-baseline` makes of several hosts.
#pragma once
#include <boost/json/fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/x86/cpu_profile.h"

namespace godwit::tools {

struct NamedCpu {
  std::string host;  // the name of its file
  vmm::x86::HostCpu cpu;
};

// Abilities that a host has and the baseline has not.
struct LeftOut {
  std::string host;
  std::vector<std::string> what;
  // The hosts that lack them; nobody where the hosts have them in different ways, or where they
  // need something that is left out.
  std::vector<std::string> lacking;
};

struct Baseline {
  vmm::x86::HostCpu cpu;
  std::vector<LeftOut> left_out;
  std::vector<std::string> warnings;  // sentences
};

// `hosts`: at least one. Errors: kIncompatible for different vendors, with which host has which.
Result<Baseline> make_baseline(std::span<const NamedCpu> hosts);

// A line for each set of abilities that is left out, then the warnings.
std::string format_left_out(const Baseline& baseline);
// {"cpu": ... (cpu_json.h), "left-out": [{"host", "what": [...], "lacking": [...]}],
//  "warnings": [...]}; its "cpu" alone makes a baseline file.
boost::json::object to_json(const Baseline& baseline);

}  // namespace godwit::tools
