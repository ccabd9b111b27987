/* coro_switch() and the first frame of a coroutine, for x86-64 (System V ABI).
 *
 * A suspended coroutine's stack, from its saved pointer upwards:
 *      0  mxcsr (4 bytes), x87 control word (2 bytes)
 *      8  r15, r14, r13, r12, rbx, rbp
 *     56  return address
 * coro_frame_init() in coro.c builds the same picture for a new one.
 */
#define CORO_SP 0               /* offsets in struct coro, checked in coro.c */
#define CORO_TP 8

#define SYS_arch_prctl 158
#define ARCH_SET_FS    0x1002

        .text

/* void coro_switch(struct coro *from, struct coro *to)
 * The thread pointer changes here and nowhere else: a compiler may keep the address of a __thread
 * variable across anything that it sees, but not across its own caller's stack. */
        .globl  coro_switch
        .hidden coro_switch
        .type   coro_switch, @function
        .p2align 5
coro_switch:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movl    (%rsp), %r8d            /* what the processor holds now */
        movzwl  4(%rsp), %r9d
        movq    %rsp, CORO_SP(%rdi)

        movq    CORO_TP(%rsi), %rax
        movq    CORO_SP(%rsi), %rdx
        cmpb    $0, coro_fsgsbase(%rip)
        je      .Lthread_pointer_by_system_call
        wrfsbase %rax
.Lthread_pointer_set:
        movq    %rdx, %rsp              /* the same frame, another stack: the CFI still holds */
        cmpl    (%rsp), %r8d
        jne     .Lload_mxcsr
.Lmxcsr_loaded:
        cmpw    4(%rsp), %r9w
        jne     .Lload_x87
.Lx87_loaded:
        .cfi_remember_state
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rcx                    /* a return would be predicted to go back to our caller */
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        notrack jmp *%rcx
        .cfi_restore_state

.Lload_mxcsr:
        ldmxcsr (%rsp)
        jmp     .Lmxcsr_loaded
.Lload_x87:
        fldcw   4(%rsp)
        jmp     .Lx87_loaded

        /* Without FSGSBASE. The kernel keeps every register but rax, rcx and r11. */
.Lthread_pointer_by_system_call:
        movq    %rax, %rsi
        movl    $ARCH_SET_FS, %edi
        movl    $SYS_arch_prctl, %eax
        syscall
        jmp     .Lthread_pointer_set
        .cfi_endproc
        .size   coro_switch, . - coro_switch

/* long coro_call_on(uintptr_t tp, long (*fn)(void *arg), void *arg) */
        .globl  coro_call_on
        .hidden coro_call_on
        .type   coro_call_on, @function
        .p2align 4
coro_call_on:
        .cfi_startproc
        endbr64
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        movq    %fs:0, %rbx             /* a block begins with its own address */
        movq    %rsi, %r12
        movq    %rdx, %r13
        movq    %rdi, %rsi
        call    .Lset_thread_pointer
        movq    %r13, %rdi
        call    *%r12
        movq    %rax, %r12
        movq    %rbx, %rsi
        call    .Lset_thread_pointer
        movq    %r12, %rax
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        ret
        .cfi_endproc
        .size   coro_call_on, . - coro_call_on

/* To rsi. */
        .p2align 4
.Lset_thread_pointer:
        .cfi_startproc
        cmpb    $0, coro_fsgsbase(%rip)
        je      1f
        wrfsbase %rsi
        ret
1:      movl    $ARCH_SET_FS, %edi
        movl    $SYS_arch_prctl, %eax
        syscall
        ret
        .cfi_endproc

/* Where a new coroutine's first switch returns to: r12 holds the function, r13 its argument.
 * The return address of this frame is undefined, so that debuggers and unwinders stop here; the nop
 * lies in the frame's range because they look up the byte before a return address. */
        .globl  coro_begin
        .hidden coro_begin
        .type   coro_begin, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        nop
coro_begin:
        xorl    %ebp, %ebp
        movq    %r13, %rdi
        call    *%r12
        ud2                             /* the function must not return */
        .cfi_endproc
        .size   coro_begin, . - coro_begin

/* Set at start-up: may user code write the fs base itself? */
        .bss
        .globl  coro_fsgsbase
        .hidden coro_fsgsbase
        .type   coro_fsgsbase, @object
        .size   coro_fsgsbase, 1
coro_fsgsbase:
        .zero   1

        .section .note.GNU-stack, "", @progbits

        /* Indirect branches land on endbr64 only. */
        .section .note.gnu.property, "a"
        .p2align 3
        .long   4, 16, 5
        .string "GNU"
        .long   0xc0000002, 4, 1, 0
