/* The guest's ELF file as bytes; the path comes from CMake. */
        .section .rodata
        .balign 64
        .globl godwit_workload_elf_begin, godwit_workload_elf_end
godwit_workload_elf_begin:
        .incbin GODWIT_WORKLOAD_ELF
godwit_workload_elf_end:
        .section .note.GNU-stack, "", @progbits
