// Saving and loading of what ArchX86 owns.
#include "vmm/base/check.h"
#include "vmm/x86/arch_x86.h"

namespace godwit::vmm::x86 {
namespace {

Result<> check_version(const StateSection& section, uint16_t known) {
  if (section.version <= known && section.version != 0) return {};
  return make_error(Errc::kIncompatible,
                    "section {} has version {}, known here is {}: this host runs an older release "
                    "of godwit",
                    section.type, section.version, known);
}

Result<> first_of(const StateSection& section, bool& staged, uint16_t known) {
  GODWIT_TRY(check_version(section, known));
  if (section.instance != 0 || staged) {
    return make_error(Errc::kCorrupt, "section {} comes twice", section.type);
  }
  staged = true;
  return {};
}

// Fills `section` from `payload`, whose buffer stays with its writer.
void put(StateSection& section, const char* type, uint32_t instance, uint16_t version,
         const ByteWriter& payload, ByteWriter& out) {
  section.type = type;
  section.instance = instance;
  section.version = version;
  section.payload.assign(payload.view().begin(), payload.view().end());
  write_section(section, out);
}

}  // namespace

void ArchX86::save(Vcpus vcpus, const ForEachVcpu& for_each, ByteWriter& out) {
  for_each([&](size_t i) { read_state(*vcpus[i], caps_, tsc_offset_, states_[i]); });
  for (size_t i = 0; i < vcpus.size(); ++i) {
    payload_.clear();
    encode(states_[i], payload_);
    put(section_, kVcpuSection, static_cast<uint32_t>(i), kVcpuSectionVersion, payload_, out);
  }
  read_state(vm_, irqchip_);
  payload_.clear();
  encode(irqchip_, payload_);
  put(section_, kIrqchipSection, 0, kIrqchipSectionVersion, payload_, out);
  read_state(vm_, pit_);
  payload_.clear();
  encode(pit_, payload_);
  put(section_, kPitSection, 0, kPitSectionVersion, payload_, out);
  read_state(vm_, clock_);
  payload_.clear();
  encode(clock_, payload_);
  put(section_, kClockSection, 0, kClockSectionVersion, payload_, out);
}

bool ArchX86::owns(const StateSection& section) {
  return section.type.starts_with("x86-");
}

Result<> ArchX86::stage_vcpu(const StateSection& section) {
  GODWIT_TRY(check_version(section, kVcpuSectionVersion));
  if (section.instance >= states_.size() || vcpu_staged_[section.instance]) {
    return make_error(Errc::kCorrupt, "state of vCPU {} comes twice or the guest has only {}",
                      section.instance, states_.size());
  }
  vcpu_staged_[section.instance] = true;
  return decode(section.payload, states_[section.instance]);
}

Result<> ArchX86::stage_one(const StateSection& section) {
  if (section.type == kVcpuSection) return stage_vcpu(section);
  if (section.type == kIrqchipSection) {
    GODWIT_TRY(first_of(section, irqchip_staged_, kIrqchipSectionVersion));
    return decode(section.payload, irqchip_);
  }
  if (section.type == kPitSection) {
    GODWIT_TRY(first_of(section, pit_staged_, kPitSectionVersion));
    return decode(section.payload, pit_);
  }
  if (section.type == kClockSection) {
    GODWIT_TRY(first_of(section, clock_staged_, kClockSectionVersion));
    return decode(section.payload, clock_);
  }
  if (section.optional) return {};
  return make_error(Errc::kIncompatible,
                    "section {} is unknown here: this host runs an older release of godwit",
                    section.type);
}

Result<> ArchX86::stage(std::span<const StateSection> sections) {
  vcpu_staged_.assign(states_.size(), false);
  irqchip_staged_ = pit_staged_ = clock_staged_ = false;
  for (const StateSection& section : sections) {
    if (owns(section)) GODWIT_TRY(stage_one(section));
  }
  for (size_t i = 0; i < vcpu_staged_.size(); ++i) {
    if (!vcpu_staged_[i]) {
      return make_error(Errc::kCorrupt, "the state of vCPU {} is missing", i);
    }
  }
  if (!irqchip_staged_ || !pit_staged_ || !clock_staged_) {
    return make_error(Errc::kCorrupt,
                      "the state of the interrupt controllers, the timer or the clock is missing");
  }
  return {};
}

Result<> ArchX86::apply(Vcpus vcpus, const ForEachVcpu& for_each,
                        std::optional<Nanoseconds> clock_offset) {
  std::vector<Result<>> results(vcpus.size());
  for_each([&](size_t i) { results[i] = write_state(*vcpus[i], caps_, states_[i]); });
  for (const auto& result : results) GODWIT_TRY(result);
  GODWIT_TRY(write_state(vm_, irqchip_));
  GODWIT_TRY(write_state(vm_, pit_));
  GODWIT_TRY(
      write_time(vm_, vcpus, states_, clock_, clock_offset, caps_, profile_.tsc_khz, tsc_offset_));
  for (const auto& vcpu : vcpus) before_entry(*vcpu);
  return {};
}

}  // namespace godwit::vmm::x86
