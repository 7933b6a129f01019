// What `godwit run` and `godwit receive` are asked for.
#pragma once
#include <string>

#include "devices/board.h"
#include "tools/godwit/process/boot_options.h"
#include "tools/godwit/process/engine.h"
#include "vmm/vm.h"

namespace godwit::tools {

struct RunOptions : BootOptions {
  std::string name;
  std::string console = "stdio";  // as devices::parse_console takes it
  devices::BoardConfig devices;
  bool reboot = true;  // when the guest asks for a reset; else that ends it
  vmm::VmConfig vm;
};

struct ReceiveOptions {
  std::string name;
  BootOptions boot;    // for a reboot; without a kernel a reset ends the guest
  bool reboot = true;  // as RunOptions'
  std::string console = "stdio";
  devices::BoardConfig devices;
  ListenRequest listen;
  // How this host gives memory. The vCPUs come with the guest and so does the size; one that is
  // given here is the memory to make before the guest comes.
  vmm::MemoryConfig memory;
  bool overcommit = false;  // also a guest with more memory than this host could give
  vmm::DirtyTracking dirty_tracking = vmm::DirtyTracking::kAuto;
};

inline constexpr std::string_view kBuiltinWorkload = "builtin:workload";

}  // namespace godwit::tools
