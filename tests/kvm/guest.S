# The guest of the KVM tests: copied to guest-physical kBlob (0x40000) by test_guest.cc, which also
# makes the page tables, GDT, IDT and TSS that this code loads. Starts as a PVH kernel does (32-bit,
# paging off, EBX = start block), enters long mode and runs one program in ring 3, because a
# software-backed KVM runs only ring 3 at full speed and emulates ring 0 instruction by instruction.
#
# Start block (u64 each): rip, rsp, xcr0 (0: leave alone), rax, rbx, rcx, rdx, rsi, rdi, r8
.set BLOB,  0x40000
.set PML4,  0x20000
.set TRAMPOLINE, 0x8000
.set BOX,   0x82000
.set DONE_PORT,  0x80
.set FAULT_PORT, 0xfe

.section .rodata
.balign 4096
.globl blob_start, blob_end
blob_start:
.code32
start32:
  mov %ebx, %ebp
  lgdtl BLOB + (gdtr - blob_start)
  mov %cr4, %eax
  or $0x620, %eax              # PAE, OSFXSR, OSXMMEXCPT
  cmpl $0, 16(%ebp)
  je 1f
  or $0x40000, %eax            # OSXSAVE
1: mov %eax, %cr4
  mov $PML4, %eax
  mov %eax, %cr3
  mov $0xc0000080, %ecx        # EFER: SCE LME NXE
  mov $0x901, %eax
  xor %edx, %edx
  wrmsr
  mov $0x80050033, %eax        # PE and PG at once
  mov %eax, %cr0
  ljmpl $8, $(BLOB + (start64 - blob_start))
.code64
start64:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  lidt BLOB + (idtr - blob_start)
  mov $0x30, %eax
  ltr %ax
  mov $0x60ff0, %esp
  mov 16(%rbp), %rax
  test %rax, %rax
  jz 1f
  xor %ecx, %ecx
  xor %edx, %edx
  xsetbv
1: push $0x1b                  # ss
  push 8(%rbp)                 # rsp
  push $0x3002                 # rflags: IOPL 3
  push $0x23                   # cs
  push (%rbp)                  # rip
  mov 24(%rbp), %rax
  mov 32(%rbp), %rbx
  mov 40(%rbp), %rcx
  mov 48(%rbp), %rdx
  mov 56(%rbp), %rsi
  mov 64(%rbp), %rdi
  mov 72(%rbp), %r8
  iretq

# Every exception: report the vector and stop. rax = vector, rcx = rip, rdx = error code or 0.
.globl stubs
.balign 16
stubs:
.set i,0
.rept 32
  .balign 16
  .if (i==8) || (i>=10 && i<=14) || (i==17) || (i==21)
    nop; nop
  .else
    push $0
  .endif
  push $i
  jmp fault
  .set i,i+1
.endr
.balign 16
fault:
  mov (%rsp), %rax
  mov 8(%rsp), %rdx
  mov 16(%rsp), %rcx
  mov %rcx, BOX+0x810
  out %eax, $FAULT_PORT
1: hlt
  jmp 1b

.balign 16
gdtr: .word 22*8-1
  .quad 0x1000
.balign 16
idtr: .word 4095
  .quad 0x2000

# ---- programs, ring 3 ----
.macro PROGRAM name
.balign 16
.globl \name
\name:
.endm
.macro DONE
  out %al, $DONE_PORT
9: pause
  jmp 9b
.endm

PROGRAM g_done
  DONE

PROGRAM g_counter              # endless: rax counts, r8 is a hash chain; stored at (rbx), 8(rbx)
1: inc %rax
  imul $31, %r8, %r8
  add %rax, %r8
  mov %rax, (%rbx)
  mov %r8, 8(%rbx)
  jmp 1b

PROGRAM g_avx_counter          # as g_counter, and ymm0 += ymm1 (from (rsi)), stored at 64(rbx)
  vmovdqu (%rsi), %ymm0
  vmovdqu 32(%rsi), %ymm1
1: inc %rax
  imul $31, %r8, %r8
  add %rax, %r8
  vpaddq %ymm1, %ymm0, %ymm0
  mov %rax, (%rbx)
  mov %r8, 8(%rbx)
  vmovdqu %ymm0, 64(%rbx)
  jmp 1b

PROGRAM g_random_writer        # rcx times: page rbx + ((lcg(r8) >> 33) & rdx) * 4096 gets a count
1: mov $6364136223846793005, %r10
  imul %r10, %r8
  mov $1442695040888963407, %r10
  add %r10, %r8
  mov %r8, %rax
  shr $33, %rax
  and %rdx, %rax
  shl $12, %rax
  inc %r9
  mov %r9, (%rbx,%rax)
  dec %rcx
  jnz 1b
  DONE

PROGRAM g_rounds               # for each round the host asks for in (rdi): rcx random writes, then
  mov %rcx, %r11               # the number of rounds done goes to 8(rdi)
2: pause
  cmp %r12, (%rdi)
  je 2b
  inc %r12
  mov %r11, %rcx
1: mov $6364136223846793005, %r10
  imul %r10, %r8
  mov $1442695040888963407, %r10
  add %r10, %r8
  mov %r8, %rax
  shr $33, %rax
  and %rdx, %rax
  shl $12, %rax
  inc %r9
  mov %r9, (%rbx,%rax)
  dec %rcx
  jnz 1b
  mov %r12, 8(%rdi)
  jmp 2b

PROGRAM g_touch                # writes rcx pages from rbx on
1: incq (%rbx)
  add $4096, %rbx
  dec %rcx
  jnz 1b
  DONE

PROGRAM g_ports                # every size, in and out, and string instructions, on port 0x1234
  mov $0x1234, %edx
  mov $0x11, %al
  out %al, %dx
  mov $0x2222, %ax
  out %ax, %dx
  mov $0x33333333, %eax
  out %eax, %dx
  xor %eax, %eax
  in %dx, %al
  mov %rax, BOX
  xor %eax, %eax
  in %dx, %ax
  mov %rax, BOX+8
  in %dx, %eax
  mov %rax, BOX+16
  mov $BOX+0x100, %esi
  mov $4, %ecx
  rep outsb
  mov $BOX+0x200, %edi
  mov $4, %ecx
  rep insb
  DONE

PROGRAM g_mmio                 # stores and loads at (rbx); nothing lives at (rsi)
  movb $0x44, (%rbx)
  movl $0x55555555, 4(%rbx)
  mov $0x6666666666666666, %rax
  mov %rax, 8(%rbx)
  mov 8(%rbx), %rax
  mov %rax, BOX
  movzwl 2(%rbx), %eax
  mov %rax, BOX+8
  mov (%rsi), %eax
  mov %rax, BOX+16
  DONE

PROGRAM g_port_counter         # endless: reads a number from a port that must be one more each time
  mov $0x1234, %edx            # (rbx) = how often, 8(rbx) = how often it was another number
1: in %dx, %eax
  inc %r8
  cmp %eax, %r8d
  je 2f
  incq 8(%rbx)
2: mov %r8, (%rbx)
  jmp 1b

PROGRAM g_tsc                  # endless: (rbx) = the TSC, 8(rbx) = how often it went back,
  xor %r9, %r9                 # 16(rbx) = rounds
1: rdtsc
  shl $32, %rdx
  or %rdx, %rax
  cmp %r9, %rax
  jae 2f
  incq 8(%rbx)
2: mov %rax, %r9
  mov %rax, (%rbx)
  incq 16(%rbx)
  jmp 1b

PROGRAM g_divide_error
  xor %ecx, %ecx
  div %ecx

PROGRAM g_start_aps            # INIT, SIPI to all but self; waits for rcx APs, says so, counts on
  mov $0xfee00000, %ebx
  movl $0x1ff, 0xf0(%rbx)
  movl $0x000c4500, 0x300(%rbx)
  mov $100000, %eax
1: dec %eax
  jnz 1b
  movl $0x000c4608, 0x300(%rbx)
2: pause
  cmp %rcx, BOX+0x40
  jne 2b
  out %al, $DONE_PORT
3: incq BOX+0x200
  jmp 3b

# ---- application processors: copied to 0x8000, real mode to ring 3 ----
.balign 16
.globl trampoline, trampoline_end
.code16
trampoline:
  cli
  xor %ax, %ax
  mov %ax, %ds
  lgdtl TRAMPOLINE + (ap_gdtr - trampoline)
  mov %cr4, %eax
  or $0x620, %eax
  mov %eax, %cr4
  mov $PML4, %eax
  mov %eax, %cr3
  mov $0xc0000080, %ecx
  mov $0x901, %eax
  xor %edx, %edx
  wrmsr
  mov $0x80050033, %eax
  mov %eax, %cr0
  ljmpl $8, $(TRAMPOLINE + (ap64 - trampoline))
.code64
ap64:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $0xfee00020, %eax
  mov (%rax), %eax
  shr $24, %eax                # APIC id
  mov %eax, %r12d
  lidt BLOB + (idtr - blob_start)
  shl $4, %eax
  add $0x30, %eax
  ltr %ax
  mov %r12d, %eax
  inc %eax
  shl $12, %eax
  lea 0x60000-16(%rax), %rsp
  lea 0x70000-16(%rax), %rdx
  push $0x1b
  push %rdx
  push $0x3002
  push $0x23
  push $(TRAMPOLINE + (ap_user - trampoline))
  iretq
ap_user:                       # announce, then count in BOX + 0x200 + id * 64
  lock incq BOX+0x40
  mov %r12, %rdx
  shl $6, %rdx
1: incq BOX+0x200(%rdx)
  jmp 1b
.balign 8
ap_gdtr: .word 22*8-1
  .long 0x1000
trampoline_end:

# ---- ring 0: a program that asks CPUID, started with ring-0 registers by rdi = leaf, rsi = subleaf
.balign 16
.globl g_ring0_cpuid
.code32
g_ring0_cpuid:                 # entered instead of start32: EBX = start block
  mov %ebx, %ebp
  mov 64(%ebp), %eax
  mov 56(%ebp), %ecx
  cpuid
  mov %eax, BOX+0x50
  mov %ebx, BOX+0x54
  mov %ecx, BOX+0x58
  mov %edx, BOX+0x5c
  out %al, $DONE_PORT
1: hlt
  jmp 1b
.globl g_long_entry
.balign 16
.code64
g_long_entry:                  # entered by the Linux 64-bit protocol: RSI = start block
  mov %rsi, BOX
  mov 24(%rsi), %rax
  mov %rax, BOX+8
  mov %cs, %eax
  mov %rax, BOX+16
  mov %ss, %eax
  mov %rax, BOX+24
  out %al, $DONE_PORT
1: hlt
  jmp 1b
.globl g_bad_instruction
.balign 16
.code32
g_bad_instruction:             # 32-bit, no IDT: triple fault
  ud2
blob_end:
.section .note.GNU-stack,"",@progbits
