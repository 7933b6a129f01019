/* The ring-0 part of the guest: PVH entry, AP trampoline, interrupt stubs and the int3 services.
 * It stays small and plain: where KVM is software-backed, ring 0 is emulated at about a million
 * instructions a second and knows few of them (no int n, no x87, no cmpxchg16b). Everything else
 * runs in ring 3. Tables are laid out at assembly time wherever they can be. */
#include "bench/workload/guest/layout.h"

        .section .note.Xen, "a", @note
        .long 4, 4, 18                  /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long guest_entry32

/* ---- page tables: the first 4 GiB mapped to themselves, for ring 3, accessed and dirty set ---- */
        .section .boot, "awx", @progbits
boot_start:
        .globl guest_pml4, guest_pdpt
guest_pml4:
        .quad GUEST_BASE + (guest_pdpt - boot_start) + 0x27
        .fill 511, 8, 0
guest_pdpt:
        .set i, 0
        .rept 4
        .quad GUEST_BASE + (page_directories - boot_start) + i * 0x1000 + 0x27
        .set i, i + 1
        .endr
        .fill 508, 8, 0
page_directories:
        .set i, 0
        .rept 2048
        .quad (i << 21) + 0xe7
        .set i, i + 1
        .endr

/* ---- GDT; guest C++ code adds the TSSs of the other vCPUs ---- */
        .globl guest_gdt
        .balign 16
guest_gdt:
        .quad 0
        .quad 0x00af9b000000ffff        /* 0x08 ring-0 code, 64-bit */
        .quad 0x00cf93000000ffff        /* 0x10 ring-0 data */
        .quad 0x00cff3000000ffff        /* 0x18 ring-3 data */
        .quad 0x00affb000000ffff        /* 0x20 ring-3 code, 64-bit */
        .quad 0
        .fill 2 * GUEST_MAX_CPUS, 8, 0
gdtr:   .word GUEST_GDT_ENTRIES * 8 - 1
        .quad guest_gdt
        .balign 16
idtr:   .word 256 * 16 - 1
        .quad guest_idt
        .globl guest_start_info
guest_start_info:
        .quad 0
        .globl guest_ap_next
guest_ap_next:                          /* the index that the next AP takes */
        .quad 1

/* ---- PVH entry: 32-bit protected mode, paging off, EBX = hvm_start_info ---- */
        .code32
        .globl guest_entry32
guest_entry32:
        cli
        cld
        mov %ebx, guest_start_info
        lgdtl gdtr
        /* The boot vCPU's TSS descriptor: 64-bit TSS, available. */
        mov $guest_tss, %eax
        mov %eax, %edx
        shl $16, %eax
        or $((GUEST_TSS_BITMAP + GUEST_TSS_BITMAP_BYTES - 1) & 0xffff), %eax
        mov %eax, guest_gdt + GUEST_TSS0
        shr $16, %edx
        and $0xff, %edx
        or $0x8900, %edx
        mov %edx, guest_gdt + GUEST_TSS0 + 4
        mov $0x620, %eax                /* CR4: PAE, OSFXSR, OSXMMEXCPT */
        mov %eax, %cr4
        mov $guest_pml4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx           /* EFER: SCE, LME, NXE */
        mov $0x901, %eax
        xor %edx, %edx
        wrmsr
        mov $0x80050033, %eax           /* CR0: PG AM WP NE ET MP PE */
        mov %eax, %cr0
        ljmpl $GUEST_CODE0, $entry64

        .code64
ap_entry64:
        mov $1, %edi
        lock xadd %rdi, guest_ap_next
        cmp $GUEST_MAX_CPUS, %rdi
        jb enter_ring3
park:   cli
        hlt
        jmp park
entry64:
        xor %edi, %edi
/* EDI: index of this vCPU. Enters guest_main(index) in ring 3, IOPL 3, interrupts off. The ring-0
 * stack serves for the iretq frame here and for interrupts later. */
enter_ring3:
        mov $GUEST_DATA0, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %edi, %esp
        inc %esp
        shl $GUEST_STACK0_SHIFT, %esp
        add $guest_stacks0, %esp
        lidt idtr
        mov %edi, %eax
        shl $4, %eax
        add $GUEST_TSS0, %eax
        ltr %ax
        mov %edi, %eax
        inc %eax
        shl $GUEST_STACK3_SHIFT, %eax
        add $guest_stacks3 - 8, %eax    /* as if guest_main had been called */
        push $GUEST_DATA3
        push %rax
        push $0x3002
        push $GUEST_CODE3
        push $guest_main
        iretq

/* ---- AP trampoline: copied to a page below 1 MiB, started by SIPI in real mode ---- */
        .globl guest_trampoline, guest_trampoline_end
        .balign 16
guest_trampoline:
        .code16
        cli
        mov %cs, %ax
        mov %ax, %ds
        lgdtl trampoline_gdtr - guest_trampoline
        mov $0x620, %eax
        mov %eax, %cr4
        mov $guest_pml4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx
        mov $0x901, %eax
        xor %edx, %edx
        wrmsr
        mov $0x80050033, %eax
        mov %eax, %cr0
        ljmpl $GUEST_CODE0, $ap_entry64
        .balign 8
trampoline_gdtr:
        .word GUEST_GDT_ENTRIES * 8 - 1
        .long guest_gdt
guest_trampoline_end:

        .code64

/* ---- interrupts. Exceptions leave vector, error code, RIP and CR2 behind and go on in ring 3 at
 * guest_fault. ---- */
        .globl guest_stubs
        .balign 16
guest_stubs:                            /* vectors 0 to 31, 16 bytes each */
        .set i, 0
        .rept 32
        .balign 16
        .if (i == 8) || (i >= 10 && i <= 14) || (i == 17) || (i == 21) || (i == 29) || (i == 30)
        nop
        nop
        .else
        push $0
        .endif
        push $i
        jmp exception
        .set i, i + 1
        .endr

exception:
        push %rax
        mov 8(%rsp), %rax
        mov %rax, guest_fault_record
        mov 16(%rsp), %rax
        mov %rax, guest_fault_record + 8
        mov 24(%rsp), %rax
        mov %rax, guest_fault_record + 16
        mov %cr2, %rax
        mov %rax, guest_fault_record + 24
        mov $guest_stack_fault_top - 8, %eax
        mov %rax, 48(%rsp)              /* RSP */
        mov $guest_fault, %eax
        mov %rax, 24(%rsp)              /* RIP */
        mov $GUEST_CODE3, %eax
        mov %rax, 32(%rsp)
        mov $GUEST_DATA3, %eax
        mov %rax, 56(%rsp)
        mov $0x3002, %eax
        mov %rax, 40(%rsp)
        pop %rax
        add $16, %rsp
        iretq

        .globl guest_timer_interrupt, guest_spurious_interrupt
        .balign 16
guest_timer_interrupt:
        push %rax
        mov %rsp, %rax
        and $-GUEST_STACK0_BYTES, %rax
        incl (%rax)
        mov $(GUEST_LAPIC + 0xb0), %eax
        movl $0, (%rax)                 /* end of interrupt */
        pop %rax
guest_spurious_interrupt:
        iretq

        .globl guest_service
        .balign 16
guest_service:
        cmp $GUEST_SERVICE_HALT, %eax
        jne 1f
        mov %rsp, %rax
        and $-GUEST_STACK0_BYTES, %rax
        cmp %edi, (%rax)
        jne 9f
        sti                             /* takes effect after hlt has begun: no wake-up is lost */
        hlt
        cli
9:      iretq
1:      cmp $GUEST_SERVICE_WRMSR, %eax
        jne 2f
        mov %edi, %ecx
        mov %esi, %eax
        mov %rsi, %rdx
        shr $32, %rdx
        wrmsr
        iretq
2:      cmp $GUEST_SERVICE_CPUID, %eax
        jne 9b
        push %rbx
        mov %edi, %eax
        xor %ecx, %ecx
        cpuid
        mov %eax, (%rsi)
        mov %ebx, 4(%rsi)
        mov %ecx, 8(%rsi)
        mov %edx, 12(%rsi)
        pop %rbx
        iretq

/* ---- what C++ fills in or only the CPU touches ---- */
        .bss
        .balign 4096
        .globl guest_idt, guest_tss, guest_stacks0, guest_stacks3, guest_fault_record
guest_idt:
        .skip 256 * 16
guest_tss:
        .skip GUEST_TSS_BITMAP + GUEST_TSS_BITMAP_BYTES
        .balign GUEST_STACK0_BYTES
guest_stacks0:
        .skip GUEST_MAX_CPUS * GUEST_STACK0_BYTES
        .balign 16
guest_stacks3:
        .skip GUEST_MAX_CPUS << GUEST_STACK3_SHIFT
        .skip 4096
guest_stack_fault_top:
guest_fault_record:
        .skip 32
        .section .note.GNU-stack, "", @progbits
