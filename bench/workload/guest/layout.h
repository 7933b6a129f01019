/* Numbers that the assembly and the C++ of the guest share. */
#pragma once

#define GUEST_BASE 0x100000 /* where the image is linked and loaded */
#define GUEST_MAX_CPUS 64

/* The GDT: null, ring-0 code and data, ring-3 data and code, spare, then one TSS (two slots) a
 * vCPU.
 */
#define GUEST_CODE0 0x08
#define GUEST_DATA0 0x10
#define GUEST_DATA3 0x1b
#define GUEST_CODE3 0x23
#define GUEST_TSS0 0x30
#define GUEST_GDT_ENTRIES (6 + 2 * GUEST_MAX_CPUS)

/* TSSs lie 128 bytes apart and share the I/O bitmap that follows the last one. */
#define GUEST_TSS_STRIDE 128
#define GUEST_TSS_BITMAP (GUEST_MAX_CPUS * GUEST_TSS_STRIDE)
#define GUEST_TSS_BITMAP_BYTES 8193 /* 8 KiB of zeros, all ports allowed, and a byte of ones */

/* Ring-0 stacks; the lowest word of each counts that vCPU's timer interrupts. */
#define GUEST_STACK0_SHIFT 10
#define GUEST_STACK0_BYTES (1 << GUEST_STACK0_SHIFT)
#define GUEST_STACK3_SHIFT 13

#define GUEST_VECTOR_TIMER 0x40
#define GUEST_VECTOR_SPURIOUS 0xff

/* Services behind int3, number in RAX. */
#define GUEST_SERVICE_HALT 1  /* RDI: halt unless the interrupt count differs from this */
#define GUEST_SERVICE_WRMSR 2 /* RDI: MSR, RSI: value */
#define GUEST_SERVICE_CPUID 3 /* RDI: leaf, RSI: uint32_t[4] that receives EAX EBX ECX EDX */

#define GUEST_LAPIC 0xfee00000
