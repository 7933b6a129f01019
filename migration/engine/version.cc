#include "migration/engine/version.h"

namespace godwit::migration {

std::string software_name() {
  return "godwit " GODWIT_VERSION;
}

}  // namespace godwit::migration
