// One vCPU of KVM: its descriptor and the kvm_run structure shared with the kernel.
#pragma once
#include <cstdint>

#include "vmm/base/fd.h"
#include "vmm/base/mapping.h"
#include "vmm/kvm/constants.h"

namespace godwit::vmm {

// Threads: enter() only on the vCPU's own thread; set_immediate_exit() from any. The rest of the
// vCPU ioctls go through fd() and only while the vCPU is not running (KVM would make them wait).
class KvmVcpu {
 public:
  // `run_bytes`: KvmSystem::vcpu_mmap_bytes().
  KvmVcpu(UniqueFd fd, uint32_t index, size_t run_bytes);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] uint32_t index() const { return index_; }
  // Written by the kernel; the data of an exit is guest-controlled.
  [[nodiscard]] kvm_run& run_area() { return *reinterpret_cast<kvm_run*>(run_.data()); }
  [[nodiscard]] std::span<std::byte> run_bytes() const { return run_.bytes(); }

  // KVM_RUN: 0 with an exit in run_area(), or -errno.
  int enter() noexcept;
  // While set, KVM_RUN completes the last exit and then returns -EINTR without entering the guest.
  void set_immediate_exit(bool on) noexcept;

 private:
  UniqueFd fd_;
  uint32_t index_;
  Mapping run_;
};

}  // namespace godwit::vmm
