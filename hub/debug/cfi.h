/* Call frame information: where the caller's registers are, for a given place in the code.
 *
 * Reads .eh_frame by way of .eh_frame_hdr, as compilers write it by default (DWARF 5, section 6.4,
 * and the Linux Standard Base's account of .eh_frame). Takes no lock, uses no memory but its own
 * tables; for one reporter at a time (report.h).
 */
#ifndef DEBUG_CFI_H
#define DEBUG_CFI_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
enum { CFI_REGS = 17, CFI_SP = 7, CFI_FP = 6, CFI_RETURN = 16 };
#elif defined(__aarch64__)
enum { CFI_REGS = 32, CFI_SP = 31, CFI_FP = 29, CFI_RETURN = 30 };
#endif

enum cfi_how {
    CFI_SAME,       /* the caller's is what it is now */
    CFI_GONE,       /* cannot be had; for CFI_RETURN: there is no caller */
    CFI_AT,         /* at CFA + value */
    CFI_IS,         /* CFA + value */
    CFI_IN,         /* in register `value` */
    CFI_AT_EXPR,    /* at what the expression gives that lies at `expr` + value */
    CFI_IS_EXPR,    /* what it gives */
};

/* What holds at one place. */
struct cfi_row {
    uint8_t how[CFI_REGS]; /* enum cfi_how */
    int32_t value[CFI_REGS];
    uint8_t cfa_reg;     /* CFA = that register + cfa_offset, or */
    bool cfa_is_expr;    /* what the expression at `expr` + cfa_offset gives */
    bool signal;         /* a signal handler's frame: its caller was interrupted, it did not call */
    int32_t cfa_offset;
    uintptr_t expr;      /* what expressions are relative to */
};

/* The row for the instruction at `pc`; false when there is none. */
bool cfi_find(uintptr_t pc, struct cfi_row *row);

/* Evaluate a DWARF expression with these registers, of which bits in `have` are known. `cfa` is
 * pushed first, unless it is the CFA's own expression (`push` false). */
bool cfi_evaluate(uintptr_t expr, const uintptr_t *regs, uint64_t have, bool push, uintptr_t cfa,
                  uintptr_t *result);

#endif
