#include "vmm/kvm/vcpu.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>

namespace godwit::vmm {

KvmVcpu::KvmVcpu(UniqueFd fd, uint32_t index, size_t run_bytes)
    : fd_(std::move(fd)),
      index_(index),
      run_(Mapping::map(run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get())) {}

int KvmVcpu::enter() noexcept {
  return ::ioctl(fd_.get(), KVM_RUN, 0) < 0 ? -errno : 0;
}

void KvmVcpu::set_immediate_exit(bool on) noexcept {
  std::atomic_ref<uint8_t>(run_area().immediate_exit).store(on ? 1 : 0, std::memory_order_seq_cst);
}

}  // namespace godwit::vmm
