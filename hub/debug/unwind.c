#include "hub/debug/unwind.h"

#include <string.h>

#include "hub/debug/modules.h"
#include "hub/debug/peek.h"

enum { ROWS = 512, WINDOW = 1024, GUESS = 4096 };

/* ---- What was found out about places; most threads wait in the same few ------------------------- */

static struct {
    uintptr_t pc;
    struct cfi_row row;
    bool found;
} rows[ROWS];

static const struct cfi_row *row_of(uintptr_t pc)
{
    unsigned slot = (unsigned)((pc * UINT64_C(0x9E3779B97F4A7C15)) >> 55);
    _Static_assert(ROWS == 1 << 9, "the hash gives nine bits");
    if (rows[slot].pc != pc) {
        rows[slot].pc = pc;
        rows[slot].found = cfi_find(pc, &rows[slot].row);
    }
    return rows[slot].found ? &rows[slot].row : NULL;
}

void unwind_forget(void)
{
    memset(rows, 0, sizeof rows);
}

/* ---- The stack, read a piece at a time -------------------------------------------------------- */

static struct {
    uintptr_t from;
    size_t n;
    unsigned char bytes[WINDOW];
} window;

static bool word_at(uintptr_t address, uintptr_t *value)
{
    if (address < window.from || address - window.from + sizeof *value > window.n) {
        window.from = address;
        window.n = peek_some(window.bytes, address, WINDOW);
        if (window.n < sizeof *value)
            return false;
    }
    memcpy(value, window.bytes + (address - window.from), sizeof *value);
    return true;
}

static bool known(const struct unwind_regs *r, unsigned reg)
{
    return r->have >> reg & 1;
}

static void set(struct unwind_regs *r, unsigned reg, uintptr_t value)
{
    r->reg[reg] = value;
    r->have |= UINT64_C(1) << reg;
}

/* Does a call end just before this address? A return address follows one. */
static bool is_return_address(uintptr_t address)
{
    if (!module_is_code(address) || !module_of(address))
        return false;
#if defined(__x86_64__)
    unsigned char code[8];
    if (!peek(code, address - sizeof code, sizeof code))
        return false;
    if (code[3] == 0xe8) /* call to a place */
        return true;
    for (unsigned at = 0; at <= 6; at++) /* call through a register or memory: ff /2 */
        if (code[at] == 0xff && (code[at + 1] & 0x38) == 0x10)
            return true;
    return false;
#else
    return true;
#endif
}

/* A function keeps its frame by a register whose value nobody can tell (a system call that a thread
 * of the kernel's sits in): the first pair on the stack that can be a frame pointer and a return
 * address is taken for it. */
static bool guess_frame_pointer(struct unwind_regs *r)
{
    for (uintptr_t at = r->reg[CFI_SP] & ~(uintptr_t)7, end = at + GUESS; at < end; at += 8) {
        uintptr_t up, back;
        if (!word_at(at, &up) || !word_at(at + 8, &back))
            return false;
        if (up > at + 8 && up - at < 1 << 20 && up % 8 == 0 && is_return_address(back)) {
            set(r, CFI_FP, at);
            return true;
        }
    }
    return false;
}

/* Code without frame information: by the frame pointer, if it looks like one. */
static bool step_by_frame_pointer(struct unwind_regs *r)
{
    uintptr_t fp = r->reg[CFI_FP], up, back;
    if (!known(r, CFI_FP) || fp < r->reg[CFI_SP] || fp % 8 || !word_at(fp, &up) ||
        !word_at(fp + 8, &back) || !is_return_address(back))
        return false;
    r->pc = back;
    r->exact = false;
    set(r, CFI_SP, fp + 16);
    set(r, CFI_FP, up);
    return true;
}

static bool frame_address(struct unwind_regs *r, const struct cfi_row *row, uintptr_t *cfa)
{
    if (row->cfa_is_expr)
        return cfi_evaluate(row->expr + (uintptr_t)(intptr_t)row->cfa_offset, r->reg, r->have,
                            false, 0, cfa);
    if (!known(r, row->cfa_reg) && !(row->cfa_reg == CFI_FP && guess_frame_pointer(r)))
        return false;
    *cfa = r->reg[row->cfa_reg] + (uintptr_t)(intptr_t)row->cfa_offset;
    return true;
}

/* The caller's value of a register; false when it cannot be told. */
static bool caller_register(const struct unwind_regs *r, const struct cfi_row *row, unsigned reg,
                            uintptr_t cfa, uintptr_t *value)
{
    uintptr_t offset = (uintptr_t)(intptr_t)row->value[reg];
    switch ((enum cfi_how)row->how[reg]) {
    case CFI_SAME:
        *value = reg == CFI_SP ? cfa : r->reg[reg];
        return reg == CFI_SP || known(r, reg);
    case CFI_AT:
        return word_at(cfa + offset, value);
    case CFI_IS:
        *value = cfa + offset;
        return true;
    case CFI_IN:
        if (row->value[reg] < 0 || row->value[reg] >= CFI_REGS || !known(r, (unsigned)row->value[reg]))
            return false;
        *value = r->reg[row->value[reg]];
        return true;
    case CFI_AT_EXPR:
        return cfi_evaluate(row->expr + offset, r->reg, r->have, true, cfa, value) &&
               word_at(*value, value);
    case CFI_IS_EXPR:
        return cfi_evaluate(row->expr + offset, r->reg, r->have, true, cfa, value);
    case CFI_GONE:
        break;
    }
    return false;
}

/* The bits above an address that aarch64 signs it with. */
static uintptr_t plain_address(uintptr_t pc)
{
#if defined(__aarch64__)
    return pc & ((UINT64_C(1) << 48) - 1);
#else
    return pc;
#endif
}

static bool step(struct unwind_regs *r)
{
    const struct cfi_row *row = row_of(r->exact ? r->pc : r->pc - 1);
    if (!row)
        return step_by_frame_pointer(r);
    if (row->how[CFI_RETURN] == CFI_GONE)
        return false;
    struct unwind_regs up = {.exact = row->signal};
    uintptr_t cfa, value;
    if (!frame_address(r, row, &cfa))
        return false;
    for (unsigned reg = 0; reg < CFI_REGS; reg++)
        if (caller_register(r, row, reg, cfa, &value))
            set(&up, reg, value);
    if (!known(&up, CFI_RETURN) || !known(&up, CFI_SP))
        return false;
    up.pc = plain_address(up.reg[CFI_RETURN]);
    /* Stacks grow down, but for a handler on a stack of its own. */
    if (!up.pc || (!row->signal && up.reg[CFI_SP] <= r->reg[CFI_SP] && up.pc == r->pc))
        return false;
#if defined(__x86_64__)
    up.have &= ~(UINT64_C(1) << CFI_RETURN);
#endif
    *r = up;
    return true;
}

size_t unwind_walk(const struct unwind_regs *regs, uintptr_t *pcs, size_t max)
{
    struct unwind_regs r = *regs;
    size_t n = 0;
    window.n = 0;
    while (n < max) {
        pcs[n++] = r.exact ? r.pc : r.pc - 1;
        if (!step(&r))
            break;
    }
    return n;
}

#if defined(__x86_64__)
bool unwind_suspended(const struct green *g, struct unwind_regs *regs)
{
    uintptr_t words[8], sp = (uintptr_t)g->coro.sp;
    static const unsigned order[] = {15, 14, 13, 12, 3, 6}; /* r15 ... r12, rbx, rbp */
    if (!peek(words, sp, sizeof words))
        return false;
    *regs = (struct unwind_regs){.pc = words[7]};
    for (unsigned i = 0; i < 6; i++)
        set(regs, order[i], words[i + 1]);
    set(regs, CFI_SP, sp + sizeof words);
    return true;
}
#elif defined(__aarch64__)
bool unwind_suspended(const struct green *g, struct unwind_regs *regs)
{
    uintptr_t words[12], sp = (uintptr_t)g->coro.sp;
    if (!peek(words, sp, sizeof words))
        return false;
    *regs = (struct unwind_regs){.pc = words[1]};
    set(regs, 29, words[0]);
    set(regs, 30, words[1]);
    for (unsigned i = 0; i < 10; i++)
        set(regs, 19 + i, words[2 + i]);
    set(regs, CFI_SP, sp + 176);
    return true;
}
#endif
