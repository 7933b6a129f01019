#include "vmm/host_report.h"

#include <exception>

#include "vmm/arch_host.h"

namespace godwit::vmm {

HostReport probe_host() {
  HostReport report;
  report.checks.push_back(check_kvm_device());
  if (!report.usable()) return report;
  try {
    const KvmSystem system = KvmSystem::open().value();
    KvmVm vm(system);
    add_kvm_checks(probe_capabilities(vm), report);
    add_arch_checks(system, vm, report);
  } catch (const std::exception& error) {
    report.checks.push_back({"virtual-machine", false, true, error.what(),
                             "KVM is there but a virtual machine cannot be made: see the kernel's "
                             "log"});
  }
  add_memory_checks(report);
  return report;
}

}  // namespace godwit::vmm
