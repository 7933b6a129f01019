#include "vmm/kvm/system.h"

#include <fcntl.h>

#include <cerrno>

#include "vmm/kvm/constants.h"
#include "vmm/kvm/ioctl.h"

namespace godwit::vmm {
namespace {
constexpr int kApiVersion = 12;  // the only one since Linux 2.6.22

Error open_error(int error, const std::string& path) {
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return make_error(Errc::kUnsupported,
                        "{} does not exist: this host has no KVM; switch virtualization on in its "
                        "firmware (or nested virtualization in its hypervisor) and load the module "
                        "kvm_intel or kvm_amd",
                        path);
    case EACCES:
    case EPERM:
      return make_error(Errc::kPermission,
                        "no permission to open {}: add the user to the group that owns it (mostly "
                        "\"kvm\") or run as root",
                        path);
    default:
      return error_from_errno(error, fmt::format("cannot open {}", path));
  }
}
}  // namespace

KvmSystem::KvmSystem(UniqueFd fd)
    : fd_(std::move(fd)),
      vcpu_mmap_bytes_(
          static_cast<size_t>(GODWIT_IOCTL(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, uintptr_t{0}))) {}

Result<KvmSystem> KvmSystem::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return open_error(errno, path);
  const int version = try_ioctl(fd.get(), KVM_GET_API_VERSION, uintptr_t{0});
  if (version < 0) {
    return make_error(Errc::kUnsupported, "{} is not KVM: KVM_GET_API_VERSION fails (errno {})",
                      path, -version);
  }
  if (version != kApiVersion) {
    return make_error(Errc::kUnsupported, "{} speaks KVM API version {}, needed is {}", path,
                      version, kApiVersion);
  }
  return KvmSystem(std::move(fd));
}

int KvmSystem::check_extension(uint32_t capability) const {
  const int result = try_ioctl(fd(), KVM_CHECK_EXTENSION, uintptr_t{capability});
  return result < 0 ? 0 : result;
}

}  // namespace godwit::vmm
