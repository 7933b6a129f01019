// What `godwit run` and `godwit receive` are asked for.
#pragma once
#include <string>

#include "devices/board.h"
#include "tools/godwit/process/engine.h"
#include "vmm/vm.h"

namespace godwit::tools {

struct RunOptions {
  std::string name;
  std::string kernel;  // a file, or builtin:workload
  std::string initrd;  // empty: none
  std::string command_line;
  std::string console = "stdio";  // as devices::parse_console takes it
  devices::BoardConfig devices;
  vmm::VmConfig vm;
};

struct ReceiveOptions {
  std::string name;
  std::string console = "stdio";
  devices::BoardConfig devices;
  ListenRequest listen;
  // How this host gives memory. The vCPUs come with the guest and so does the size; one that is
  // given here is the memory to make before the guest comes.
  vmm::MemoryConfig memory;
  vmm::DirtyTracking dirty_tracking = vmm::DirtyTracking::kAuto;
};

inline constexpr std::string_view kBuiltinWorkload = "builtin:workload";

}  // namespace godwit::tools
