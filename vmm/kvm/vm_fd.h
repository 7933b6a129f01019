// A VM of KVM: what no architecture differs in. Documentation/virt/kvm/api.rst, "VM ioctls".
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"

namespace godwit::vmm {

// Failing calls throw std::system_error naming the ioctl. Threads: any.
class KvmVm {
 public:
  explicit KvmVm(const KvmSystem& system);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] int check_extension(uint32_t capability) const;
  void enable_capability(uint32_t capability, uint64_t argument, const char* name);

  // KVM_SET_USER_MEMORY_REGION; `flags` are KVM_MEM_*. May be called again for the same slot with
  // other flags while vCPUs run.
  void set_memory_slot(uint32_t slot, uint64_t gpa, uint64_t bytes, void* host, uint32_t flags);
  [[nodiscard]] std::unique_ptr<KvmVcpu> create_vcpu(uint32_t index);
  // KVM_IRQ_LINE: an input of the in-kernel interrupt controllers.
  void set_irq_line(uint32_t gsi, bool level);
  // KVM_SIGNAL_MSI: whether a local APIC took it.
  bool signal_msi(uint64_t address, uint32_t data);
  // KVM_IOEVENTFD: a write at the address of the memory bus rings the descriptor instead of leaving
  // the guest. False where KVM refuses.
  bool set_ioeventfd(uint64_t address, int event_fd, bool on) noexcept;

  // One bit per page of the slot; `words` covers the whole slot.
  void get_dirty_log(uint32_t slot, std::span<uint64_t> words);
  // Re-arms the pages whose bits are set in `words`. first_page is a multiple of 64; so is `pages`,
  // except at the end of the slot.
  void clear_dirty_log(uint32_t slot, uint64_t first_page, uint32_t pages,
                       std::span<const uint64_t> words);
  // Re-arms the pages of all entries marked as collected; returns how many.
  uint32_t reset_dirty_rings();

 private:
  UniqueFd fd_;
  size_t vcpu_mmap_bytes_;
};

}  // namespace godwit::vmm
