// ioctl(2) on KVM's descriptors.
#pragma once
#include <cstdint>
#include <string_view>

namespace godwit::vmm {

// The result, or -errno. An interrupted call is made again (KVM_RUN does not go through here).
int try_ioctl(int fd, unsigned long request, uintptr_t argument) noexcept;
inline int try_ioctl(int fd, unsigned long request, const void* argument) noexcept {
  return try_ioctl(fd, request, reinterpret_cast<uintptr_t>(argument));
}

// As above, but a failure throws std::system_error naming the request.
int checked_ioctl(int fd, unsigned long request, uintptr_t argument, std::string_view name);
inline int checked_ioctl(int fd, unsigned long request, const void* argument,
                         std::string_view name) {
  return checked_ioctl(fd, request, reinterpret_cast<uintptr_t>(argument), name);
}

}  // namespace godwit::vmm

// The request's own name goes into the exception.
#define GODWIT_IOCTL(fd, request, argument) \
  ::godwit::vmm::checked_ioctl((fd), (request), (argument), #request)
