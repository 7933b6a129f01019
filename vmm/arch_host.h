// The one place that says which architecture's checks a host report contains.
#pragma once

#if defined(__x86_64__)
#include "vmm/x86/host_checks.h"
namespace godwit::vmm {
inline void add_arch_checks(const KvmSystem& system, KvmVm& vm, HostReport& report) {
  x86::add_host_checks(system, vm, report);
}
}  // namespace godwit::vmm
#else
#error "no architecture code for this machine yet"
#endif
