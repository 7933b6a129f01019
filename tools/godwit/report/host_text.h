// What `godwit check` says of a host.
#pragma once
#include <boost/json/fwd.hpp>
#include <string>

#include "vmm/kvm/host_report.h"

namespace godwit::tools {

// One line per check ("ok", "no" for what is optional, "MISSING" for what is needed), below it what
// to do about it, at the end the verdict.
std::string format_host_report(const vmm::HostReport& report);
// {"usable": ..., "checks": [{"name", "ok", "required", "detail", "advice"}],
//  "cpu": ... (cpu_json.h), where a VM can be made}
boost::json::object to_json(const vmm::HostReport& report);

}  // namespace godwit::tools
