#include "vmm/x86/tsc.h"

#include <array>
#include <cerrno>
#include <system_error>

#include "vmm/kvm/flexible_request.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/x86/msrs.h"
#include "vmm/x86/vcpu_state.h"

namespace godwit::vmm::x86 {
namespace {

template <size_t N>
using MsrRequest = FlexibleRequest<KvmMsrsHead, kvm_msr_entry, N>;

kvm_device_attr offset_attribute(uint64_t& value) {
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<uintptr_t>(&value);
  return attribute;
}

}  // namespace

bool probe_tsc_offset(const KvmVcpu& vcpu, const Capabilities& caps) {
  if (!caps.vcpu_attributes) return false;
  uint64_t before = 0;
  auto attribute = offset_attribute(before);
  if (try_ioctl(vcpu.fd(), KVM_GET_DEVICE_ATTR, &attribute) < 0) return false;
  const uint64_t wanted = before - (uint64_t{1} << 40);
  if (set_tsc_offset(vcpu, wanted) < 0) return false;
  uint64_t after = 0;
  attribute = offset_attribute(after);
  const bool kept = try_ioctl(vcpu.fd(), KVM_GET_DEVICE_ATTR, &attribute) >= 0 && after == wanted;
  set_tsc_offset(vcpu, before);
  return kept;
}

uint32_t tsc_khz(const KvmVcpu& vcpu) {
  return static_cast<uint32_t>(GODWIT_IOCTL(vcpu.fd(), KVM_GET_TSC_KHZ, uintptr_t{0}));
}

int set_tsc_khz(const KvmVcpu& vcpu, uint32_t khz) {
  const uint32_t old = tsc_khz(vcpu);
  if (old == khz) return 0;
  const int result = try_ioctl(vcpu.fd(), KVM_SET_TSC_KHZ, uintptr_t{khz});
  if (result < 0) try_ioctl(vcpu.fd(), KVM_SET_TSC_KHZ, uintptr_t{old});
  return result;
}

void read_tsc(const KvmVcpu& vcpu, bool tsc_offset, VcpuState& state) {
  MsrRequest<2> request;
  request.head().nmsrs = 2;
  request.entry(0).index = kMsrTsc;
  request.entry(1).index = kMsrTscDeadline;
  // A host without the deadline timer answers for the first one only: the deadline is 0 then.
  if (checked_ioctl(vcpu.fd(), kKvmGetMsrs, &request.head(), "KVM_GET_MSRS") < 1) {
    throw std::system_error(EIO, std::generic_category(), "KVM_GET_MSRS of IA32_TSC");
  }
  state.tsc = request.entry(0).data;
  state.tsc_deadline = request.entry(1).data;
  state.tsc_offset = 0;
  if (!tsc_offset) return;
  const auto attribute = offset_attribute(state.tsc_offset);
  GODWIT_IOCTL(vcpu.fd(), KVM_GET_DEVICE_ATTR, &attribute);
}

int set_tsc_offset(const KvmVcpu& vcpu, uint64_t offset) {
  const auto attribute = offset_attribute(offset);
  return try_ioctl(vcpu.fd(), KVM_SET_DEVICE_ATTR, &attribute);
}

bool set_msr(const KvmVcpu& vcpu, uint32_t index, uint64_t value) {
  MsrRequest<1> request;
  request.head().nmsrs = 1;
  request.entry(0).index = index;
  request.entry(0).data = value;
  return try_ioctl(vcpu.fd(), kKvmSetMsrs, &request.head()) == 1;
}

}  // namespace godwit::vmm::x86
