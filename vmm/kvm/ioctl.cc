#include "vmm/kvm/ioctl.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace godwit::vmm {

int try_ioctl(int fd, unsigned long request, uintptr_t argument) noexcept {
  for (;;) {
    const int result = ::ioctl(fd, request, argument);
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

int checked_ioctl(int fd, unsigned long request, uintptr_t argument, std::string_view name) {
  const int result = try_ioctl(fd, request, argument);
  if (result >= 0) return result;
  throw std::system_error(-result, std::generic_category(), std::string(name));
}

}  // namespace godwit::vmm
