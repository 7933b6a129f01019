#include "vmm/base/syscall.h"

#include <cerrno>
#include <string>
#include <system_error>

namespace godwit {

void throw_errno(std::string_view what) {
  throw std::system_error(errno, std::generic_category(), std::string(what));
}

}  // namespace godwit
