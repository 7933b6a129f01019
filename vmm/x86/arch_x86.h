// The architecture seam of a VM, for x86-64: everything that vm.cc asks of an architecture.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmm/state/sections.h"
#include "vmm/vm.h"
#include "vmm/x86/capabilities.h"
#include "vmm/x86/chips.h"
#include "vmm/x86/clock.h"
#include "vmm/x86/cpu_profile.h"
#include "vmm/x86/vcpu_state.h"

namespace godwit::vmm::x86 {

using Vcpus = std::span<const std::unique_ptr<KvmVcpu>>;

// Order of use: constructor (after the memory slots), set_up_vcpus(), then the rest while no vCPU
// runs. Threads: one at a time; before_entry() on each vCPU's own.
class ArchX86 {
 public:
  static constexpr const char* kName = "x86_64";
  static constexpr uint32_t kIrqLines = kIoapicPins;
  // Calls f(i) for every vCPU i, in any order and on any threads, and returns when all are done.
  using ForEachVcpu = std::function<void(const std::function<void(size_t)>& f)>;

  // Errors: kUnsupported, naming each capability that KVM here lacks.
  static Result<> check_capabilities(const KvmVm& vm);

  // Makes the interrupt controllers and the timer.
  ArchX86(const KvmSystem& system, KvmVm& vm, GuestMemory& memory);

  // Gives all vCPUs the CPU that `config` asks for. Errors as Vm::create.
  Result<> set_up_vcpus(Vcpus vcpus, const VmConfig& config);
  // The profile, encoded.
  [[nodiscard]] std::vector<std::byte> describe_cpu() const { return encode_profile(profile_); }

  Result<> start_at(Vcpus vcpus, const BootEntry& entry);

  // Appends the sections of all vCPUs and chips.
  void save(Vcpus vcpus, const ForEachVcpu& for_each, ByteWriter& out);
  // Whether a section is one of ours.
  static bool owns(const StateSection& section);
  // Decodes and checks our sections; changes nothing in KVM. Errors: kCorrupt, kIncompatible.
  Result<> stage(std::span<const StateSection> sections);
  // Loads what was staged; `clock_offset` as Machine::load says.
  Result<> apply(Vcpus vcpus, const ForEachVcpu& for_each, std::optional<Nanoseconds> clock_offset);

  // On a vCPU's thread, before it goes on after a pause: tells the guest's watchdogs that it was
  // stopped (KVM_KVMCLOCK_CTRL).
  void before_entry(const KvmVcpu& vcpu) const noexcept;
  // For messages: where the vCPU is.
  static std::string describe_registers(const KvmVcpu& vcpu);

 private:
  Result<> choose_profile(const KvmVcpu& first, const VmConfig& config);
  Result<> offer_model(const VmConfig& config, CpuidTable supported, HostCpu host);
  [[nodiscard]] Result<> set_up_vcpu(const KvmVcpu& vcpu, uint32_t vcpus) const;
  Result<> settle_msrs(const KvmVcpu& first, bool received);
  Result<> set_arch_capabilities(Vcpus vcpus) const;
  Result<> stage_one(const StateSection& section);
  Result<> stage_vcpu(const StateSection& section);

  const KvmSystem& system_;
  KvmVm& vm_;
  GuestMemory& memory_;
  Capabilities caps_;
  CpuProfile profile_;
  bool tsc_offset_ = false;  // this host keeps one

  // Kept from one save or load to the next.
  std::vector<VcpuState> states_;
  IrqchipState irqchip_;
  PitState pit_;
  ClockState clock_;
  ByteWriter payload_;
  StateSection section_;
  std::vector<bool> vcpu_staged_;
  bool irqchip_staged_ = false, pit_staged_ = false, clock_staged_ = false;
};

}  // namespace godwit::vmm::x86
