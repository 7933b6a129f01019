// The machine below the guest: ports, TSC, LAPIC, ring-0 services, descriptor tables.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "bench/workload/guest/layout.h"

extern "C" {
extern uint64_t guest_pml4[512];
extern uint64_t guest_pdpt[512];
extern uint64_t guest_start_info;  // gpa of hvm_start_info
extern const char guest_trampoline[];
extern const char guest_trampoline_end[];
extern char guest_image_end[];
// Left behind by an exception: vector, error code, RIP, CR2.
extern volatile uint64_t guest_fault_record[4];
}

namespace godwit::workload {

// What the VMM is told through the debug-exit port (README.md).
enum class ExitCode : uint32_t { kOk = 0, kCheckFailed = 1, kBadConfiguration = 2, kFault = 3 };

inline void out8(uint16_t port, uint8_t value) {
  __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline void out16(uint16_t port, uint16_t value) {
  __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline void out32(uint16_t port, uint32_t value) {
  __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
inline uint8_t in8(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}
inline uint64_t rdtsc() {
  uint32_t low;
  uint32_t high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
  return uint64_t{high} << 32 | low;
}
inline void pause() {
  __asm__ volatile("pause" ::: "memory");
}

// The LAPIC, identity-mapped and open to ring 3.
inline constexpr uint32_t kLapicId = 0x20;
inline constexpr uint32_t kLapicSvr = 0xf0;
inline constexpr uint32_t kLapicIcrLow = 0x300;
inline constexpr uint32_t kLapicLvtTimer = 0x320;
inline constexpr uint32_t kLapicLvt0 = 0x350;
inline constexpr uint32_t kLapicTimerInitial = 0x380;
inline constexpr uint32_t kLapicTimerCurrent = 0x390;
inline constexpr uint32_t kLapicTimerDivide = 0x3e0;
inline volatile uint32_t* lapic(uint32_t offset) {
  return reinterpret_cast<volatile uint32_t*>(uintptr_t{GUEST_LAPIC} + offset);
}

// Ring-0 services.
void wrmsr(uint32_t msr, uint64_t value);
void cpuid(uint32_t leaf, uint32_t (&registers)[4]);
// Timer interrupts that vCPU `index` has had; only it may ask.
uint32_t interrupt_count(uint32_t index);
// Halts until an interrupt, unless one has come since `count` was read.
void halt_unless_interrupted(uint32_t count);

// Boot vCPU, first thing: TSSs, GDT and IDT, the PICs masked.
void set_up_tables();
// Every vCPU: LAPIC on, LINT0 and timer masked (LINT0 resets to ExtINT on the boot vCPU, and an
// unprogrammed PIC would then deliver vectors 0 to 15).
void set_up_lapic();

// Ends the machine: debug-exit port 0xf4, then the ways to power off that are known, then halts.
[[noreturn]] void leave(ExitCode code);

}  // namespace godwit::workload
