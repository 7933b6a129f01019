#include "vmm/x86/chips.h"

#include "vmm/kvm/ioctl.h"

namespace godwit::vmm::x86 {
namespace {

// api.rst, KVM_SET_TSS_ADDR and KVM_SET_IDENTITY_MAP_ADDR: three pages and one page that no slot
// covers, below 4 GiB. Real mode on Intel needs them; others ignore them.
constexpr uint64_t kIdentityMap = 0xfffbc000;
constexpr uint64_t kTss = 0xfffbd000;

constexpr const char* kChipNames[] = {"master PIC", "slave PIC", "IOAPIC"};

Result<> set_chip(const KvmVm& vm, kvm_irqchip& chip) {
  const int result = try_ioctl(vm.fd(), KVM_SET_IRQCHIP, &chip);
  if (result >= 0) return {};
  return error_from_errno(-result,
                          fmt::format("KVM refuses the saved {}", kChipNames[chip.chip_id]));
}

}  // namespace

void create_chips(KvmVm& vm) {
  uint64_t identity_map = kIdentityMap;
  GODWIT_IOCTL(vm.fd(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
  GODWIT_IOCTL(vm.fd(), KVM_SET_TSS_ADDR, uintptr_t{kTss});
  GODWIT_IOCTL(vm.fd(), KVM_CREATE_IRQCHIP, uintptr_t{0});
  kvm_pit_config config{};
  config.flags = KVM_PIT_SPEAKER_DUMMY;  // port 0x61 belongs to it
  GODWIT_IOCTL(vm.fd(), KVM_CREATE_PIT2, &config);
}

void mask_pics(KvmVm& vm) {
  for (const uint32_t id : {KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE}) {
    kvm_irqchip chip{};
    chip.chip_id = id;
    GODWIT_IOCTL(vm.fd(), KVM_GET_IRQCHIP, &chip);
    chip.chip.pic.imr = 0xff;
    GODWIT_IOCTL(vm.fd(), KVM_SET_IRQCHIP, &chip);
  }
}

void read_state(const KvmVm& vm, IrqchipState& state) {
  state = {};
  state.pic[0].chip_id = KVM_IRQCHIP_PIC_MASTER;
  state.pic[1].chip_id = KVM_IRQCHIP_PIC_SLAVE;
  state.ioapic.chip_id = KVM_IRQCHIP_IOAPIC;
  for (kvm_irqchip* chip : {&state.pic[0], &state.pic[1], &state.ioapic}) {
    GODWIT_IOCTL(vm.fd(), KVM_GET_IRQCHIP, chip);
  }
}

void read_state(const KvmVm& vm, PitState& state) {
  state = {};
  GODWIT_IOCTL(vm.fd(), KVM_GET_PIT2, &state.pit);
}

Result<> write_state(const KvmVm& vm, IrqchipState& state) {
  for (kvm_irqchip* chip : {&state.pic[0], &state.pic[1], &state.ioapic}) {
    GODWIT_TRY(set_chip(vm, *chip));
  }
  return {};
}

Result<> write_state(const KvmVm& vm, PitState& state) {
  const int result = try_ioctl(vm.fd(), KVM_SET_PIT2, &state.pit);
  if (result >= 0) return {};
  return error_from_errno(-result, "KVM refuses the saved PIT");
}

}  // namespace godwit::vmm::x86
