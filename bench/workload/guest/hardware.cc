#include "bench/workload/guest/hardware.h"

extern "C" {
extern uint64_t guest_gdt[GUEST_GDT_ENTRIES];
extern uint64_t guest_idt[512];
extern uint8_t guest_tss[GUEST_TSS_BITMAP + GUEST_TSS_BITMAP_BYTES];
extern uint8_t guest_stacks0[GUEST_MAX_CPUS * GUEST_STACK0_BYTES];
extern const char guest_stubs[];
extern const char guest_timer_interrupt[];
extern const char guest_spurious_interrupt[];
extern const char guest_service[];
}

namespace godwit::workload {
namespace {

constexpr uint16_t kDebugExitPort = 0xf4;

void set_gate(unsigned vector, const char* handler, unsigned dpl) {
  const auto address = reinterpret_cast<uint64_t>(handler);
  const uint64_t type = 0x8e | dpl << 5;  // interrupt gate: interrupts off in the handler
  guest_idt[2 * vector] = (address & 0xffff) | uint64_t{GUEST_CODE0} << 16 | type << 40 |
                          (address >> 16 & 0xffff) << 48;
  guest_idt[2 * vector + 1] = address >> 32;
}

// SDM volume 3, 8.7: RSP0 at 4, I/O map base at 0x66.
void set_up_tss(unsigned index) {
  uint8_t* tss = guest_tss + index * GUEST_TSS_STRIDE;
  const auto stack = reinterpret_cast<uint64_t>(guest_stacks0 + (index + 1) * GUEST_STACK0_BYTES);
  const uint16_t bitmap = GUEST_TSS_BITMAP - index * GUEST_TSS_STRIDE;
  __builtin_memcpy(tss + 4, &stack, sizeof(stack));
  __builtin_memcpy(tss + 0x66, &bitmap, sizeof(bitmap));
  if (index == 0) return;  // the descriptor of the boot vCPU is loaded already, hence busy
  const auto base = reinterpret_cast<uint64_t>(tss);
  const uint64_t limit = bitmap + GUEST_TSS_BITMAP_BYTES - 1;
  uint64_t* descriptor = guest_gdt + GUEST_TSS0 / 8 + 2 * index;
  descriptor[0] =
      (limit & 0xffff) | (base & 0xffffff) << 16 | uint64_t{0x89} << 40 | (base >> 24 & 0xff) << 56;
  descriptor[1] = base >> 32;
}

}  // namespace

void wrmsr(uint32_t msr, uint64_t value) {
  uint64_t service = GUEST_SERVICE_WRMSR;
  __asm__ volatile("int3"
                   : "+a"(service)
                   : "D"(uint64_t{msr}), "S"(value)
                   : "rcx", "rdx", "memory");
}

void cpuid(uint32_t leaf, uint32_t (&registers)[4]) {
  uint64_t service = GUEST_SERVICE_CPUID;
  __asm__ volatile("int3"
                   : "+a"(service)
                   : "D"(uint64_t{leaf}), "S"(registers)
                   : "rcx", "rdx", "memory");
}

uint32_t interrupt_count(uint32_t index) {
  return *reinterpret_cast<volatile uint32_t*>(guest_stacks0 + index * GUEST_STACK0_BYTES);
}

void halt_unless_interrupted(uint32_t count) {
  uint64_t service = GUEST_SERVICE_HALT;
  __asm__ volatile("int3" : "+a"(service) : "D"(uint64_t{count}) : "rcx", "rdx", "memory");
}

void set_up_tables() {
  guest_tss[GUEST_TSS_BITMAP + GUEST_TSS_BITMAP_BYTES - 1] = 0xff;
  for (unsigned i = 0; i < GUEST_MAX_CPUS; ++i) set_up_tss(i);
  for (unsigned vector = 0; vector < 32; ++vector) set_gate(vector, guest_stubs + 16 * vector, 0);
  set_gate(3, guest_service, 3);
  for (unsigned vector = 32; vector < 256; ++vector) set_gate(vector, guest_spurious_interrupt, 0);
  set_gate(GUEST_VECTOR_TIMER, guest_timer_interrupt, 0);
  out8(0x21, 0xff);
  out8(0xa1, 0xff);
}

void set_up_lapic() {
  *lapic(kLapicSvr) = 0x100 | GUEST_VECTOR_SPURIOUS;
  *lapic(kLapicLvt0) = 0x10700;
  *lapic(kLapicLvtTimer) = 0x10000 | GUEST_VECTOR_TIMER;
  *lapic(kLapicTimerDivide) = 0xb;  // by one
}

void leave(ExitCode code) {
  out32(kDebugExitPort, static_cast<uint32_t>(code));
  out16(0x604, 0x2000);  // ACPI S5 where SeaBIOS puts the PM block of pc and q35
  out8(0x64, 0xfe);      // i8042 reset
  while (true) halt_unless_interrupted(interrupt_count(0));
}

}  // namespace godwit::workload
