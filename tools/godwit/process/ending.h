#pragma once
#include <string>

namespace godwit::tools {

// Why and how a VMM process ends.
struct Ending {
  int status = 0;      // the exit status
  std::string reason;  // for the log: "the guest powered off"
};

}  // namespace godwit::tools
