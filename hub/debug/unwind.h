/* Walking a stack that is not the caller's, without libgcc's unwinder, which takes locks.
 * For one reporter at a time (report.h).
 */
#ifndef DEBUG_UNWIND_H
#define DEBUG_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/debug/cfi.h"
#include "hub/green.h"

/* A place in a program: registers by their DWARF numbers, bits of `have` say which are known. */
struct unwind_regs {
    uintptr_t reg[CFI_REGS];
    uintptr_t pc;
    uint64_t have;
    bool exact; /* pc is the next instruction, not a return address */
};

/* Where a suspended green thread will go on: false when its stack cannot be read. */
bool unwind_suspended(const struct green *g, struct unwind_regs *regs);

/* The addresses of the frames from `regs` on, innermost first: up to max of them. An address in
 * pcs[] lies inside the calling instruction. */
size_t unwind_walk(const struct unwind_regs *regs, uintptr_t *pcs, size_t max);

/* Forget what was found out about code; after modules_load(). */
void unwind_forget(void);

#endif
