// What this software calls itself to its peer.
#pragma once
#include <string>

namespace godwit::migration {

// "godwit 0.1.0"
std::string software_name();

}  // namespace godwit::migration
