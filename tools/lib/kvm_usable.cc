// Exits with 0 when this user can make a virtual machine with /dev/kvm, else says why not.
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstdio>

int main() {
  const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) return std::perror("cannot open /dev/kvm"), 1;
  if (::ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
    return std::perror("/dev/kvm speaks another API version than 12"), 1;
  }
  if (::ioctl(kvm, KVM_CREATE_VM, 0) < 0) return std::perror("KVM_CREATE_VM"), 1;
  return 0;
}
