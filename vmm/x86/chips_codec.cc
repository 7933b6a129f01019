// "x86-irqchip", version 1, little-endian:
//   2 PICs (master, slave), u8 each: last_irr irr imr isr priority_add irq_base read_reg_select
//   poll
//     special_mask init_state auto_eoi rotate_on_auto_eoi special_fully_nested_mode init4 elcr
//     elcr_mask
//   IOAPIC: u64 base_address, u32 ioregsel, u32 id, u32 irr, u64 x 24 redirection entries
// "x86-pit", version 1, little-endian:
//   3 channels: u32 count, u16 latched_count, u8 count_latched status_latched status read_state
//     write_state write_latch rw_mode mode bcd gate, i64 count_load_time
//   u32 flags (KVM_PIT_FLAGS_*)
#include "vmm/x86/chips.h"

namespace godwit::vmm::x86 {
namespace {

constexpr uint32_t kMaxPitCount = 0x10000;
constexpr uint8_t kMaxPitMode = 5;
constexpr uint8_t kPitNeverProgrammed = 0xff;

template <class State, class Visitor>
void visit_pic(State& p, Visitor&& v) {
  for (auto* field :
       {&p.last_irr, &p.irr, &p.imr, &p.isr, &p.priority_add, &p.irq_base, &p.read_reg_select,
        &p.poll, &p.special_mask, &p.init_state, &p.auto_eoi, &p.rotate_on_auto_eoi,
        &p.special_fully_nested_mode, &p.init4, &p.elcr, &p.elcr_mask}) {
    v(*field);
  }
}

template <class State, class Visitor>
void visit_pit_bytes(State& c, Visitor&& v) {
  for (auto* field : {&c.count_latched, &c.status_latched, &c.status, &c.read_state, &c.write_state,
                      &c.write_latch, &c.rw_mode, &c.mode, &c.bcd, &c.gate}) {
    v(*field);
  }
}

Result<> check(const kvm_pit_channel_state& channel) {
  if (channel.count > kMaxPitCount ||
      (channel.mode > kMaxPitMode && channel.mode != kPitNeverProgrammed)) {
    return make_error(Errc::kCorrupt, "PIT state: count {} in mode {} cannot be", channel.count,
                      channel.mode);
  }
  return {};
}

}  // namespace

void encode(const IrqchipState& state, ByteWriter& out) {
  for (const kvm_irqchip& pic : state.pic) {
    visit_pic(pic.chip.pic, [&out](uint8_t value) { out.u8(value); });
  }
  const kvm_ioapic_state& ioapic = state.ioapic.chip.ioapic;
  out.u64(ioapic.base_address);
  out.u32(ioapic.ioregsel);
  out.u32(ioapic.id);
  out.u32(ioapic.irr);
  for (const auto& entry : ioapic.redirtbl) out.u64(entry.bits);
}

Result<> decode(std::span<const std::byte> payload, IrqchipState& state) {
  ByteReader in(payload, "interrupt controller state");
  state = {};
  state.pic[0].chip_id = KVM_IRQCHIP_PIC_MASTER;
  state.pic[1].chip_id = KVM_IRQCHIP_PIC_SLAVE;
  state.ioapic.chip_id = KVM_IRQCHIP_IOAPIC;
  for (kvm_irqchip& pic : state.pic) {
    visit_pic(pic.chip.pic, [&in](uint8_t& value) { value = in.u8(); });
  }
  kvm_ioapic_state& ioapic = state.ioapic.chip.ioapic;
  ioapic.base_address = in.u64();
  ioapic.ioregsel = in.u32();
  ioapic.id = in.u32();
  ioapic.irr = in.u32();
  for (auto& entry : ioapic.redirtbl) entry.bits = in.u64();
  GODWIT_TRY(in.finish());
  if ((ioapic.irr >> kIoapicPins) != 0) {
    return make_error(Errc::kCorrupt, "IOAPIC state: inputs {:#x} pending, it has {}", ioapic.irr,
                      kIoapicPins);
  }
  return {};
}

void encode(const PitState& state, ByteWriter& out) {
  for (const kvm_pit_channel_state& channel : state.pit.channels) {
    out.u32(channel.count);
    out.u16(channel.latched_count);
    visit_pit_bytes(channel, [&out](uint8_t value) { out.u8(value); });
    out.i64(channel.count_load_time);
  }
  out.u32(state.pit.flags);
}

Result<> decode(std::span<const std::byte> payload, PitState& state) {
  ByteReader in(payload, "PIT state");
  state = {};
  for (kvm_pit_channel_state& channel : state.pit.channels) {
    channel.count = in.u32();
    channel.latched_count = in.u16();
    visit_pit_bytes(channel, [&in](uint8_t& value) { value = in.u8(); });
    channel.count_load_time = in.i64();
  }
  state.pit.flags = in.u32();
  GODWIT_TRY(in.finish());
  for (const kvm_pit_channel_state& channel : state.pit.channels) GODWIT_TRY(check(channel));
  if ((state.pit.flags & ~(KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON)) != 0) {
    return make_error(Errc::kCorrupt, "PIT state: flags {:#x} are unknown", state.pit.flags);
  }
  return {};
}

}  // namespace godwit::vmm::x86
