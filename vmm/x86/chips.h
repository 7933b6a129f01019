// The interrupt controllers and the timer that KVM emulates for the whole VM: two 8259A, IOAPIC,
// 8254.
#pragma once
#include <linux/kvm.h>

#include <cstdint>

#include "vmm/base/byte_io.h"
#include "vmm/kvm/vm_fd.h"

namespace godwit::vmm::x86 {

inline constexpr const char* kIrqchipSection = "x86-irqchip";
inline constexpr uint16_t kIrqchipSectionVersion = 1;
inline constexpr const char* kPitSection = "x86-pit";
inline constexpr uint16_t kPitSectionVersion = 1;
inline constexpr uint32_t kIoapicPins = KVM_IOAPIC_NUM_PINS;

struct IrqchipState {
  kvm_irqchip pic[2]{};  // master, slave
  kvm_irqchip ioapic{};
};
struct PitState {
  kvm_pit_state2 pit{};
};

// Makes the chips, with the addresses that Intel's KVM needs for itself. After the memory slots:
// the first slot after them costs milliseconds. Before the vCPUs.
void create_chips(KvmVm& vm);
// Masks every input of the 8259As, as a BIOS leaves them: an unprogrammed one would inject vectors
// 0 to 15 for any interrupt line.
void mask_pics(KvmVm& vm);

void read_state(const KvmVm& vm, IrqchipState& state);
void read_state(const KvmVm& vm, PitState& state);
// After the LAPICs: setting the IOAPIC sends the interrupts that are pending in it to them
// (kvm_set_ioapic, arch/x86/kvm/ioapic.c), and a later KVM_SET_LAPIC would lose those.
Result<> write_state(const KvmVm& vm, IrqchipState& state);
// KVM starts the channel's period anew: its phase is lost (as it is under QEMU).
Result<> write_state(const KvmVm& vm, PitState& state);

// Payloads of the sections; byte tables in chips_codec.cc.
void encode(const IrqchipState& state, ByteWriter& out);
void encode(const PitState& state, ByteWriter& out);
Result<> decode(std::span<const std::byte> payload, IrqchipState& state);
Result<> decode(std::span<const std::byte> payload, PitState& state);

}  // namespace godwit::vmm::x86
