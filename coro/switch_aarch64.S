/* coro_switch() and the first frame of a coroutine, for aarch64 (AAPCS64).
 *
 * A suspended coroutine's stack, from its saved pointer upwards:
 *      0  x29, x30, x19 .. x28
 *     96  d8 .. d15
 *    160  fpcr, 8 bytes unused
 * coro_frame_init() in coro.c builds the same picture for a new one.
 */
#define CORO_SP 0               /* offsets in struct coro, checked in coro.c */
#define CORO_TP 8

        .text

/* void coro_switch(struct coro *from, struct coro *to)
 * The thread pointer changes here and nowhere else: see switch_x86_64.S. */
        .globl  coro_switch
        .hidden coro_switch
        .type   coro_switch, %function
        .p2align 5
coro_switch:
        .cfi_startproc
        hint    #34                     /* bti c */
        sub     sp, sp, #176
        .cfi_adjust_cfa_offset 176
        stp     x29, x30, [sp, #0]
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x19, x20, [sp, #16]
        .cfi_rel_offset x19, 16
        .cfi_rel_offset x20, 24
        stp     x21, x22, [sp, #32]
        .cfi_rel_offset x21, 32
        .cfi_rel_offset x22, 40
        stp     x23, x24, [sp, #48]
        .cfi_rel_offset x23, 48
        .cfi_rel_offset x24, 56
        stp     x25, x26, [sp, #64]
        .cfi_rel_offset x25, 64
        .cfi_rel_offset x26, 72
        stp     x27, x28, [sp, #80]
        .cfi_rel_offset x27, 80
        .cfi_rel_offset x28, 88
        stp     d8, d9, [sp, #96]
        .cfi_rel_offset d8, 96
        .cfi_rel_offset d9, 104
        stp     d10, d11, [sp, #112]
        .cfi_rel_offset d10, 112
        .cfi_rel_offset d11, 120
        stp     d12, d13, [sp, #128]
        .cfi_rel_offset d12, 128
        .cfi_rel_offset d13, 136
        stp     d14, d15, [sp, #144]
        .cfi_rel_offset d14, 144
        .cfi_rel_offset d15, 152
        mrs     x9, fpcr
        str     x9, [sp, #160]
        mov     x10, sp
        str     x10, [x0, #CORO_SP]

        ldr     x11, [x1, #CORO_TP]
        ldr     x10, [x1, #CORO_SP]
        msr     tpidr_el0, x11
        mov     sp, x10                 /* the same frame, another stack: the CFI still holds */
        ldr     x12, [sp, #160]
        cmp     x9, x12
        b.eq    1f
        msr     fpcr, x12
1:
        ldp     d14, d15, [sp, #144]
        .cfi_restore d14
        .cfi_restore d15
        ldp     d12, d13, [sp, #128]
        .cfi_restore d12
        .cfi_restore d13
        ldp     d10, d11, [sp, #112]
        .cfi_restore d10
        .cfi_restore d11
        ldp     d8, d9, [sp, #96]
        .cfi_restore d8
        .cfi_restore d9
        ldp     x27, x28, [sp, #80]
        .cfi_restore x27
        .cfi_restore x28
        ldp     x25, x26, [sp, #64]
        .cfi_restore x25
        .cfi_restore x26
        ldp     x23, x24, [sp, #48]
        .cfi_restore x23
        .cfi_restore x24
        ldp     x21, x22, [sp, #32]
        .cfi_restore x21
        .cfi_restore x22
        ldp     x19, x20, [sp, #16]
        .cfi_restore x19
        .cfi_restore x20
        ldp     x29, x30, [sp, #0]
        .cfi_restore x29
        .cfi_restore x30
        add     sp, sp, #176
        .cfi_adjust_cfa_offset -176
        ret
        .cfi_endproc
        .size   coro_switch, . - coro_switch

/* long coro_call_on(uintptr_t tp, long (*fn)(void *arg), void *arg) */
        .globl  coro_call_on
        .hidden coro_call_on
        .type   coro_call_on, %function
        .p2align 4
coro_call_on:
        .cfi_startproc
        hint    #34                     /* bti c */
        stp     x29, x30, [sp, #-32]!
        .cfi_adjust_cfa_offset 32
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        str     x19, [sp, #16]
        .cfi_rel_offset x19, 16
        mov     x29, sp
        mrs     x19, tpidr_el0
        msr     tpidr_el0, x0
        mov     x0, x2
        blr     x1
        msr     tpidr_el0, x19
        ldr     x19, [sp, #16]
        .cfi_restore x19
        ldp     x29, x30, [sp], #32
        .cfi_adjust_cfa_offset -32
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
        .size   coro_call_on, . - coro_call_on

/* Where a new coroutine's first switch returns to: x19 holds the function, x20 its argument.
 * The return address of this frame is undefined, so that debuggers and unwinders stop here; the nop
 * lies in the frame's range because they look up the byte before a return address. */
        .globl  coro_begin
        .hidden coro_begin
        .type   coro_begin, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
        nop
coro_begin:
        mov     x29, xzr
        mov     x30, xzr
        mov     x0, x20
        blr     x19
        brk     #1                      /* the function must not return */
        .cfi_endproc
        .size   coro_begin, . - coro_begin

        .section .note.GNU-stack, "", %progbits
