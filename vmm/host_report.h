// Can this host run and migrate guests, and if not, why not?
#pragma once
#include "vmm/kvm/host_report.h"

namespace godwit::vmm {

// Probes everything, architecture included; makes a VM with one vCPU for it and takes it apart
// again (some ten milliseconds). Never throws.
HostReport probe_host();

}  // namespace godwit::vmm
