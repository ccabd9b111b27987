/* vfork: see vfork_x86_64.S. The link register is kept by the kernel across the system call. */
    .text
    .globl green_vfork
    .type green_vfork, %function
green_vfork:
    .cfi_startproc
    stp x29, x30, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    bl vfork_begin
    ldp x29, x30, [sp], #16
    .cfi_adjust_cfa_offset -16
    mrs x9, tpidr_el0
    adrp x10, :gottprel:green_tls
    ldr x10, [x10, :gottprel_lo12:green_tls]
    add x9, x9, x10
    ldr w11, [x9]
    mov w12, #5
    str w12, [x9]
    mov x0, #0x4111             /* CLONE_VM | CLONE_VFORK | SIGCHLD */
    mov x1, #0
    mov x8, #220
    svc 0
    cbz x0, 1f
    str w11, [x9]
    stp x29, x30, [sp, #-32]!
    .cfi_adjust_cfa_offset 32
    str x0, [sp, #16]
    bl vfork_end
    ldr x0, [sp, #16]
    cmn x0, #4095
    b.cc 2f
    neg x0, x0
    bl vfork_failed
2:  ldp x29, x30, [sp], #32
    .cfi_adjust_cfa_offset -32
1:  ret
    .cfi_endproc
    .size green_vfork, .-green_vfork
    .section .note.GNU-stack, "", %progbits
