#include "vmm/kvm/vm_fd.h"

#include "vmm/base/check.h"
#include "vmm/kvm/constants.h"
#include "vmm/kvm/ioctl.h"

namespace godwit::vmm {

KvmVm::KvmVm(const KvmSystem& system)
    : fd_(GODWIT_IOCTL(system.fd(), KVM_CREATE_VM, uintptr_t{0})),
      vcpu_mmap_bytes_(system.vcpu_mmap_bytes()) {}

int KvmVm::check_extension(uint32_t capability) const {
  const int result = try_ioctl(fd(), KVM_CHECK_EXTENSION, uintptr_t{capability});
  return result < 0 ? 0 : result;
}

void KvmVm::enable_capability(uint32_t capability, uint64_t argument, const char* name) {
  kvm_enable_cap request{};
  request.cap = capability;
  request.args[0] = argument;
  checked_ioctl(fd(), KVM_ENABLE_CAP, &request, name);
}

void KvmVm::set_memory_slot(uint32_t slot, uint64_t gpa, uint64_t bytes, void* host,
                            uint32_t flags) {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = flags;
  region.guest_phys_addr = gpa;
  region.memory_size = bytes;
  region.userspace_addr = reinterpret_cast<uintptr_t>(host);
  GODWIT_IOCTL(fd(), KVM_SET_USER_MEMORY_REGION, &region);
}

std::unique_ptr<KvmVcpu> KvmVm::create_vcpu(uint32_t index) {
  UniqueFd vcpu(GODWIT_IOCTL(fd(), KVM_CREATE_VCPU, uintptr_t{index}));
  return std::make_unique<KvmVcpu>(std::move(vcpu), index, vcpu_mmap_bytes_);
}

void KvmVm::set_irq_line(uint32_t gsi, bool level) {
  kvm_irq_level line{};
  line.irq = gsi;
  line.level = level ? 1 : 0;
  GODWIT_IOCTL(fd(), KVM_IRQ_LINE, &line);
}

bool KvmVm::signal_msi(uint64_t address, uint32_t data) {
  kvm_msi msi{};
  msi.address_lo = static_cast<uint32_t>(address);
  msi.address_hi = static_cast<uint32_t>(address >> 32);
  msi.data = data;
  // Zero: blocked by the guest. An address that is none of an APIC's gives an error: the same.
  return try_ioctl(fd(), KVM_SIGNAL_MSI, &msi) > 0;
}

bool KvmVm::set_ioeventfd(uint64_t address, int event_fd, bool on) noexcept {
  kvm_ioeventfd request{};
  request.addr = address;
  request.fd = event_fd;
  request.flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN;
  // Length 0 matches every width and spares KVM decoding the instruction (KVM_CAP_IOEVENTFD_
  // ANY_LENGTH, Linux 4.5); else the 16-bit writes of a virtio driver are matched.
  if (try_ioctl(fd(), KVM_IOEVENTFD, &request) >= 0) return true;
  request.len = sizeof(uint16_t);
  return try_ioctl(fd(), KVM_IOEVENTFD, &request) >= 0;
}

void KvmVm::get_dirty_log(uint32_t slot, std::span<uint64_t> words) {
  kvm_dirty_log request{};
  request.slot = slot;
  request.dirty_bitmap = words.data();
  GODWIT_IOCTL(fd(), KVM_GET_DIRTY_LOG, &request);
}

void KvmVm::clear_dirty_log(uint32_t slot, uint64_t first_page, uint32_t pages,
                            std::span<const uint64_t> words) {
  GODWIT_CHECK(words.size() >= (uint64_t{pages} + 63) / 64, "bitmap shorter than its pages");
  kvm_clear_dirty_log request{};
  request.slot = slot;
  request.num_pages = pages;
  request.first_page = first_page;
  // The kernel only reads it; the structure has no const.
  request.dirty_bitmap = const_cast<uint64_t*>(words.data());
  GODWIT_IOCTL(fd(), KVM_CLEAR_DIRTY_LOG, &request);
}

uint32_t KvmVm::reset_dirty_rings() {
  return static_cast<uint32_t>(GODWIT_IOCTL(fd(), KVM_RESET_DIRTY_RINGS, uintptr_t{0}));
}

}  // namespace godwit::vmm
