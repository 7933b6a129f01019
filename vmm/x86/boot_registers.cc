#include "vmm/x86/boot_registers.h"

#include <array>
#include <vector>

#include "vmm/kvm/ioctl.h"
#include "vmm/x86/msrs.h"
#include "vmm/x86/tsc.h"

namespace godwit::vmm::x86 {
namespace {

constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTssSelector = 0x20;

// SDM 3A, 2.5 and 4.5.
constexpr uint64_t kCr0Pe = 1 << 0, kCr0Et = 1 << 4, kCr0Ne = 1 << 5, kCr0Wp = 1 << 16,
                   kCr0Pg = uint64_t{1} << 31;
constexpr uint64_t kCr4Pae = 1 << 5;
constexpr uint64_t kEferLme = 1 << 8, kEferLma = 1 << 10;
constexpr uint64_t kPresentWritable = 3;
constexpr uint64_t kLargePage = 1 << 7;
constexpr uint64_t kEntriesPerTable = 512;
constexpr uint64_t kMappedGib = 4;
constexpr uint64_t kRflagsReserved = 2;
constexpr uint64_t kMaxEntry = uint64_t{4} << 30;

// Write-back for all memory that no MTRR names, MTRRs on (SDM 3A, 11.11.2.1).
constexpr uint64_t kMtrrWriteBackOn = 0x806;
constexpr uint64_t kMiscEnableFastStrings = 1;

kvm_segment flat(uint16_t selector, uint8_t type, bool long_mode) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = long_mode ? 1 : 0;
  segment.db = long_mode ? 0 : 1;
  return segment;
}

// A segment as its descriptor (SDM 3A, 3.4.5).
uint64_t descriptor_of(const kvm_segment& s) {
  const uint64_t limit = s.g != 0 ? s.limit >> 12 : s.limit;
  uint64_t d = limit & 0xffff;
  d |= (s.base & 0xffffff) << 16;
  d |= uint64_t{s.type} << 40 | uint64_t{s.s} << 44 | uint64_t{s.dpl} << 45;
  d |= uint64_t{s.present} << 47;
  d |= (limit >> 16 & 0xf) << 48;
  d |= uint64_t{s.avl} << 52 | uint64_t{s.l} << 53 | uint64_t{s.db} << 54 | uint64_t{s.g} << 55;
  d |= (s.base >> 24 & 0xff) << 56;
  return d;
}

void set_segments(kvm_sregs& sregs, bool long_mode) {
  constexpr uint8_t kCode = 0xb;  // execute, read, accessed
  constexpr uint8_t kData = 0x3;  // read, write, accessed
  sregs.cs = flat(kCodeSelector, kCode, long_mode);
  kvm_segment data = flat(kDataSelector, kData, false);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
  kvm_segment tss{};
  tss.limit = 0x67;
  tss.selector = kTssSelector;
  tss.type = 0xb;  // busy, as VMX demands at entry
  tss.present = 1;
  sregs.tr = tss;
  sregs.ldt = {};
  sregs.ldt.unusable = 1;
  sregs.gdt.base = kBootGdtPlace.value;
  sregs.gdt.limit = 6 * sizeof(uint64_t) - 1;
  sregs.idt = {};
}

Result<> write_gdt(GuestMemory& memory, const kvm_sregs& sregs) {
  kvm_segment tss = sregs.tr;
  tss.type = 0x9;  // available: the kernel may load it again
  const std::array<uint64_t, 6> gdt = {
      0, 0, descriptor_of(sregs.cs), descriptor_of(sregs.ds), descriptor_of(tss), 0};
  return memory.write(kBootGdtPlace, std::as_bytes(std::span(gdt)));
}

Result<> write_page_tables(GuestMemory& memory) {
  std::vector<uint64_t> tables((2 + kMappedGib) * kEntriesPerTable);
  const uint64_t pdpt = kBootTablesPlace.value + kPageSize;
  tables[0] = pdpt | kPresentWritable;
  for (uint64_t gib = 0; gib < kMappedGib; ++gib) {
    tables[kEntriesPerTable + gib] = (pdpt + (1 + gib) * kPageSize) | kPresentWritable;
  }
  for (uint64_t i = 0; i < kMappedGib * kEntriesPerTable; ++i) {
    tables[2 * kEntriesPerTable + i] = i << 21 | kPresentWritable | kLargePage;
  }
  return memory.write(kBootTablesPlace, std::as_bytes(std::span(tables)));
}

void set_paging(kvm_sregs& sregs, bool long_mode) {
  // PVH: "all the other writeable bits are cleared"; ET cannot be.
  sregs.cr0 = kCr0Pe | kCr0Et;
  sregs.cr4 = 0;
  sregs.efer = 0;
  if (!long_mode) return;
  sregs.cr0 |= kCr0Pg | kCr0Wp | kCr0Ne;
  sregs.cr3 = kBootTablesPlace.value;
  sregs.cr4 = kCr4Pae;
  sregs.efer = kEferLme | kEferLma;
}

// Virtual wire: the PIC reaches the boot vCPU through LINT0, an NMI through LINT1 (Intel
// MultiProcessor Specification 1.4, 3.6.2.2).
void set_lint(const KvmVcpu& vcpu) {
  constexpr size_t kLint0 = 0x350, kLint1 = 0x360;
  constexpr uint32_t kExtInt = 0x700, kNmi = 0x400;
  kvm_lapic_state lapic{};
  GODWIT_IOCTL(vcpu.fd(), KVM_GET_LAPIC, &lapic);
  std::memcpy(lapic.regs + kLint0, &kExtInt, sizeof(kExtInt));
  std::memcpy(lapic.regs + kLint1, &kNmi, sizeof(kNmi));
  GODWIT_IOCTL(vcpu.fd(), KVM_SET_LAPIC, &lapic);
}

}  // namespace

void set_firmware_msrs(const KvmVcpu& vcpu) {
  set_msr(vcpu, kMsrMtrrDefType, kMtrrWriteBackOn);
  set_msr(vcpu, kMsrMiscEnable, kMiscEnableFastStrings);
}

Result<> set_boot_registers(const KvmVcpu& vcpu, GuestMemory& memory, const BootEntry& entry) {
  if (entry.entry.value >= kMaxEntry || entry.parameters.value >= kMaxEntry ||
      !memory.at(entry.entry, ByteCount{1})) {
    return make_error(Errc::kInvalidArgument,
                      "cannot start at {:#x} with parameters at {:#x}: not in RAM below 4 GiB",
                      entry.entry.value, entry.parameters.value);
  }
  const bool long_mode = entry.protocol == BootProtocol::kLinux64;
  kvm_sregs sregs{};
  GODWIT_IOCTL(vcpu.fd(), KVM_GET_SREGS, &sregs);
  set_segments(sregs, long_mode);
  set_paging(sregs, long_mode);
  GODWIT_TRY(write_gdt(memory, sregs));
  if (long_mode) GODWIT_TRY(write_page_tables(memory));
  GODWIT_IOCTL(vcpu.fd(), KVM_SET_SREGS, &sregs);

  kvm_regs regs{};
  regs.rip = entry.entry.value;
  regs.rflags = kRflagsReserved;
  (long_mode ? regs.rsi : regs.rbx) = entry.parameters.value;
  GODWIT_IOCTL(vcpu.fd(), KVM_SET_REGS, &regs);
  set_lint(vcpu);
  return {};
}

}  // namespace godwit::vmm::x86
