/* vfork: the child runs on the parent's memory and stack, so nothing may stand on the stack between
 * the system call and the parent's return: what is needed lies in registers that the kernel keeps.
 * While the child runs, green_tls.own is OWN_VFORK (5, checked in fork.c) and every wrapper
 * passes straight through; the parent puts the former value back. The hub has been handed off, so
 * that other green threads go on while this OS thread waits for its child.
 */
    .text
    .globl green_vfork
    .type green_vfork, @function
green_vfork:
    .cfi_startproc
    endbr64
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call vfork_begin
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    movq green_tls@gottpoff(%rip), %rsi
    movl %fs:(%rsi), %edx
    movl $5, %fs:(%rsi)
    popq %rdi
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdi
    movl $58, %eax
    syscall
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rip, 0
    testq %rax, %rax
    jz 1f
    movl %edx, %fs:(%rsi)
    pushq %rax
    .cfi_adjust_cfa_offset 8
    call vfork_end
    popq %rax
    .cfi_adjust_cfa_offset -8
    cmpq $-4095, %rax
    jae 2f
1:  ret
2:  negl %eax
    movl %eax, %edi
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call vfork_failed
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size green_vfork, .-green_vfork
    .section .note.GNU-stack, "", @progbits
