// The x86 part of `godwit check`.
#pragma once
#include "vmm/kvm/host_report.h"
#include "vmm/kvm/vm_fd.h"

namespace godwit::vmm::x86 {

// Makes a vCPU in `vm`. Throws std::system_error when that fails.
void add_host_checks(const KvmSystem& system, KvmVm& vm, HostReport& report);

}  // namespace godwit::vmm::x86
