#pragma once
#include <string>

namespace godwit::tools {

// What a machine boots. Files are read when it does.
struct BootOptions {
  std::string kernel;  // a file, or builtin:workload
  std::string initrd;  // empty: none
  std::string command_line;
};

}  // namespace godwit::tools
