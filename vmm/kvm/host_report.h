// What can be said of a host before a guest is made: `godwit check` prints it.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "vmm/kvm/capabilities.h"
#include "vmm/kvm/system.h"

namespace godwit::vmm {

struct HostCheck {
  std::string name;  // stable: "kvm", "dirty-ring", ...
  bool ok = false;
  bool required = false;  // without it no guest can run here, nor move here or away
  std::string detail;     // what was found
  std::string advice;     // what to do about it; empty when ok
};

struct HostReport {
  std::vector<HostCheck> checks;
  // The most that a guest's CPU can have here, opaque as MachineDescription::cpu; empty where no VM
  // can be made.
  std::vector<std::byte> cpu;
  bool tsc_scaling = false;  // a guest's TSC may run at another frequency than the host's
  // Whether guests can run and migrate: every required check is ok.
  [[nodiscard]] bool usable() const;
};

// Everything below is probed by trying it; nothing is inferred from versions or vendors.
// Never throws; a call that fails unexpectedly is a check that is not ok.

// The device itself: the first check of all, and the only one when it fails.
HostCheck check_kvm_device();
// What KVM offers on any architecture.
void add_kvm_checks(const KvmCapabilities& caps, HostReport& report);
// What the kernel offers beside KVM: userfaultfd (post-copy, lazy restore), huge pages.
void add_memory_checks(HostReport& report);

}  // namespace godwit::vmm
