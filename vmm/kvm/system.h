// /dev/kvm itself. Documentation/virt/kvm/api.rst of the Linux kernel, "System ioctls".
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/fd.h"

namespace godwit::vmm {

inline constexpr const char* kKvmPath = "/dev/kvm";

// Threads: any, no state of its own.
class KvmSystem {
 public:
  // Errors: kUnsupported (no KVM, or an API version other than 12), kPermission; each says what to
  // do about it.
  static Result<KvmSystem> open(const std::string& path = kKvmPath);

  [[nodiscard]] int fd() const { return fd_.get(); }
  // KVM_CHECK_EXTENSION: 0 when absent. Some answers depend on the VM: ask KvmVm then.
  [[nodiscard]] int check_extension(uint32_t capability) const;
  // The size of a vCPU's kvm_run mapping.
  [[nodiscard]] size_t vcpu_mmap_bytes() const { return vcpu_mmap_bytes_; }

 private:
  explicit KvmSystem(UniqueFd fd);
  UniqueFd fd_;
  size_t vcpu_mmap_bytes_;
};

}  // namespace godwit::vmm
