#include "hub/debug/cfi.h"

#include <string.h>

#include "hub/debug/modules.h"
#include "hub/debug/peek.h"

enum { CIE_MAX = 512, FDE_MAX = 8192, SAVED_ROWS = 8 };

/* Encodings of pointers (LSB, .eh_frame). */
enum {
    ENC_OMIT = 0xff,
    ENC_FORM = 0x0f,
    ENC_PCREL = 0x10,
    ENC_DATAREL = 0x30,
    ENC_RELATIVE = 0x70,
    ENC_INDIRECT = 0x80,
};

/* ---- Bytes that were read, and where they lie ------------------------------------------------- */

struct bytes {
    const unsigned char *at, *end;
    uintptr_t address; /* of *at, in the process */
    bool bad;          /* went over the end */
};

static uint64_t take(struct bytes *b, unsigned n)
{
    uint64_t value = 0;
    if ((size_t)(b->end - b->at) < n) {
        b->bad = true;
        b->at = b->end;
        return 0;
    }
    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)b->at[i] << 8 * i;
    b->at += n;
    b->address += n;
    return value;
}

static int64_t take_signed(struct bytes *b, unsigned n)
{
    unsigned unused = 64 - 8 * n;
    return (int64_t)(take(b, n) << unused) >> unused;
}

static uint64_t take_uleb(struct bytes *b)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint64_t byte;
    do {
        byte = take(b, 1);
        if (shift < 64)
            value |= (byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    return value;
}

static int64_t take_sleb(struct bytes *b)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint64_t byte;
    do {
        byte = take(b, 1);
        if (shift < 64)
            value |= (byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    if (shift < 64 && (byte & 64))
        value |= ~UINT64_C(0) << shift;
    return (int64_t)value;
}

static uintptr_t take_encoded(struct bytes *b, unsigned encoding, uintptr_t data)
{
    uintptr_t base = 0, value;
    if (encoding == ENC_OMIT)
        return 0;
    if ((encoding & ENC_RELATIVE) == ENC_PCREL)
        base = b->address;
    else if ((encoding & ENC_RELATIVE) == ENC_DATAREL)
        base = data;
    switch (encoding & ENC_FORM) {
    case 0x01:
        value = take_uleb(b);
        break;
    case 0x09:
        value = (uintptr_t)take_sleb(b);
        break;
    case 0x02:
        value = take(b, 2);
        break;
    case 0x0a:
        value = (uintptr_t)take_signed(b, 2);
        break;
    case 0x03:
        value = take(b, 4);
        break;
    case 0x0b:
        value = (uintptr_t)take_signed(b, 4);
        break;
    default:
        value = take(b, 8);
        break;
    }
    value += value ? base : 0;
    if (encoding & ENC_INDIRECT && !peek(&value, value, sizeof value))
        b->bad = true;
    return value;
}

static struct bytes bytes_read(unsigned char *room, uintptr_t from, size_t n)
{
    size_t got = peek_some(room, from, n);
    return (struct bytes){room, room + got, from, false};
}

/* ---- Finding --------------------------------------------------------------------------------- */

/* The FDE that the table of .eh_frame_hdr names for pc; 0 when there is none. */
static uintptr_t fde_of(uintptr_t hdr, uintptr_t pc)
{
    unsigned char room[32];
    struct bytes b = bytes_read(room, hdr, sizeof room);
    if (take(&b, 1) != 1)
        return 0;
    unsigned frame_encoding = (unsigned)take(&b, 1), count_encoding = (unsigned)take(&b, 1);
    if (take(&b, 1) != (ENC_DATAREL | 0x0b))
        return 0;
    take_encoded(&b, frame_encoding, hdr);
    uint64_t count = take_encoded(&b, count_encoding, hdr);
    if (b.bad || !count)
        return 0;
    uintptr_t table = b.address;
    struct {
        int32_t place, fde;
    } entry;
    uint64_t low = 0, high = count;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (!peek(&entry, table + middle * sizeof entry, sizeof entry))
            return 0;
        if (hdr + (uintptr_t)(intptr_t)entry.place <= pc)
            low = middle;
        else
            high = middle;
    }
    if (!peek(&entry, table + low * sizeof entry, sizeof entry))
        return 0;
    return hdr + (uintptr_t)(intptr_t)entry.fde;
}

struct cie {
    uint64_t code_align;
    int64_t data_align;
    unsigned encoding;
    bool augmented, signal;
    struct bytes program;
};

static bool cie_read(struct cie *c, unsigned char *room, uintptr_t from)
{
    struct bytes b = bytes_read(room, from, CIE_MAX);
    uint64_t length = take(&b, 4);
    if (length == 0xffffffff || b.bad)
        return false;
    if ((size_t)(b.end - b.at) > length)
        b.end = b.at + length;
    if (take(&b, 4) != 0)
        return false;
    unsigned version = (unsigned)take(&b, 1);
    const char *augmentation = (const char *)b.at;
    while (take(&b, 1))
        ;
    if (b.bad)
        return false;
    *c = (struct cie){.code_align = take_uleb(&b), .encoding = 0};
    c->data_align = take_sleb(&b);
    if (version == 1)
        take(&b, 1);
    else
        take_uleb(&b);
    if (*augmentation == 'z') {
        uint64_t n = take_uleb(&b);
        struct bytes data = b;
        c->augmented = true;
        for (const char *a = augmentation + 1; *a; a++) {
            if (*a == 'R') {
                c->encoding = (unsigned)take(&data, 1);
            } else if (*a == 'P') {
                unsigned encoding = (unsigned)take(&data, 1) & ~(unsigned)ENC_INDIRECT;
                take_encoded(&data, encoding, 0);
            } else if (*a == 'L') {
                take(&data, 1);
            } else if (*a == 'S') {
                c->signal = true;
            }
        }
        if (n > (size_t)(b.end - b.at))
            return false;
        b.at += n;
        b.address += n;
    }
    c->program = b;
    return !b.bad;
}

/* ---- The program ----------------------------------------------------------------------------- */

struct machine {
    const struct cie *cie;
    struct cfi_row row, initial;
    struct cfi_row saved[SAVED_ROWS];
    unsigned depth;
    uintptr_t place, pc;
};

static void rule(struct cfi_row *row, uint64_t reg, enum cfi_how how, int64_t value)
{
    if (reg >= CFI_REGS)
        return;
    row->how[reg] = (uint8_t)how;
    row->value[reg] = (int32_t)value;
}

/* An expression: its length, then its bytes; kept by address. */
static int64_t expression(struct bytes *b, struct cfi_row *row)
{
    if (!row->expr)
        row->expr = b->address;
    int64_t at = (int64_t)(b->address - row->expr);
    uint64_t n = take_uleb(b);
    if (n > (size_t)(b->end - b->at)) {
        b->bad = true;
        return 0;
    }
    b->at += n;
    b->address += n;
    return at;
}

static void restore(struct machine *m, uint64_t reg)
{
    if (reg < CFI_REGS) {
        m->row.how[reg] = m->initial.how[reg];
        m->row.value[reg] = m->initial.value[reg];
    }
}

static void execute_extended(struct machine *m, struct bytes *b, unsigned op)
{
    struct cfi_row *row = &m->row;
    int64_t align = m->cie->data_align;
    uint64_t reg;
    switch (op) {
    case 0x00: /* nop */
        break;
    case 0x01: /* set_loc */
        m->place = take_encoded(b, m->cie->encoding, 0);
        break;
    case 0x02: /* advance_loc1, 2, 4 */
    case 0x03:
    case 0x04:
        m->place += take(b, 1U << (op - 2)) * m->cie->code_align;
        break;
    case 0x05: /* offset_extended */
        reg = take_uleb(b);
        rule(row, reg, CFI_AT, (int64_t)take_uleb(b) * align);
        break;
    case 0x06: /* restore_extended */
        restore(m, take_uleb(b));
        break;
    case 0x07: /* undefined */
        rule(row, take_uleb(b), CFI_GONE, 0);
        break;
    case 0x08: /* same_value */
        rule(row, take_uleb(b), CFI_SAME, 0);
        break;
    case 0x09: /* register */
        reg = take_uleb(b);
        rule(row, reg, CFI_IN, (int64_t)take_uleb(b));
        break;
    case 0x0a: /* remember_state */
        if (m->depth < SAVED_ROWS)
            m->saved[m->depth] = *row;
        m->depth++;
        break;
    case 0x0b: /* restore_state */
        if (m->depth && --m->depth < SAVED_ROWS)
            *row = m->saved[m->depth];
        break;
    case 0x0c: /* def_cfa */
    case 0x12: /* def_cfa_sf */
        row->cfa_reg = (uint8_t)take_uleb(b);
        row->cfa_offset = (int32_t)(op == 0x0c ? (int64_t)take_uleb(b) : take_sleb(b) * align);
        row->cfa_is_expr = false;
        break;
    case 0x0d: /* def_cfa_register */
        row->cfa_reg = (uint8_t)take_uleb(b);
        row->cfa_is_expr = false;
        break;
    case 0x0e: /* def_cfa_offset */
        row->cfa_offset = (int32_t)take_uleb(b);
        break;
    case 0x13: /* def_cfa_offset_sf */
        row->cfa_offset = (int32_t)(take_sleb(b) * align);
        break;
    case 0x0f: /* def_cfa_expression */
        row->cfa_offset = (int32_t)expression(b, row);
        row->cfa_is_expr = true;
        break;
    case 0x10: /* expression */
    case 0x16: /* val_expression */
        reg = take_uleb(b);
        rule(row, reg, op == 0x10 ? CFI_AT_EXPR : CFI_IS_EXPR, expression(b, row));
        break;
    case 0x11: /* offset_extended_sf */
        reg = take_uleb(b);
        rule(row, reg, CFI_AT, take_sleb(b) * align);
        break;
    case 0x14: /* val_offset */
        reg = take_uleb(b);
        rule(row, reg, CFI_IS, (int64_t)take_uleb(b) * align);
        break;
    case 0x15: /* val_offset_sf */
        reg = take_uleb(b);
        rule(row, reg, CFI_IS, take_sleb(b) * align);
        break;
    case 0x2d: /* aarch64: the return address is signed from here on; its bits are masked off */
        break;
    case 0x2e: /* GNU_args_size */
        take_uleb(b);
        break;
    default:
        b->bad = true;
    }
}

static bool execute(struct machine *m, struct bytes b)
{
    while (b.at < b.end && !b.bad && m->place <= m->pc) {
        unsigned op = (unsigned)take(&b, 1);
        unsigned low = op & 63;
        switch (op >> 6) {
        case 1: /* advance_loc */
            m->place += low * m->cie->code_align;
            break;
        case 2: /* offset */
            rule(&m->row, low, CFI_AT, (int64_t)take_uleb(&b) * m->cie->data_align);
            break;
        case 3: /* restore */
            restore(m, low);
            break;
        default:
            execute_extended(m, &b, op);
        }
    }
    return !b.bad;
}

static bool row_read(uintptr_t fde, uintptr_t pc, struct cfi_row *row)
{
    static unsigned char cie_room[CIE_MAX], fde_room[FDE_MAX];
    static struct machine m;
    unsigned char head[4];
    struct bytes b = bytes_read(head, fde, sizeof head);
    uint64_t length = take(&b, 4);
    if (b.bad || length == 0 || length == 0xffffffff)
        return false;
    b = bytes_read(fde_room, fde + 4, length < FDE_MAX ? length : FDE_MAX);
    uintptr_t at = b.address;
    struct cie cie;
    if (!cie_read(&cie, cie_room, at - take(&b, 4)))
        return false;
    uintptr_t start = take_encoded(&b, cie.encoding, 0);
    uintptr_t size = take_encoded(&b, cie.encoding & ENC_FORM, 0);
    if (pc < start || pc - start >= size)
        return false;
    if (cie.augmented) {
        uint64_t n = take_uleb(&b);
        if (n > (size_t)(b.end - b.at))
            return false;
        b.at += n;
        b.address += n;
    }
    memset(&m, 0, sizeof m);
    m.cie = &cie;
    m.place = 0;
    m.pc = pc;
    if (!execute(&m, cie.program))
        return false;
    m.initial = m.row;
    m.place = start;
    if (!execute(&m, b) || (m.row.cfa_reg >= CFI_REGS && !m.row.cfa_is_expr))
        return false;
    m.row.signal = cie.signal;
    *row = m.row;
    return true;
}

bool cfi_find(uintptr_t pc, struct cfi_row *row)
{
    const struct module *module = module_of(pc);
    if (!module || !module->eh_hdr)
        return false;
    uintptr_t fde = fde_of(module->eh_hdr, pc);
    return fde && row_read(fde, pc, row);
}

/* ---- Expressions ----------------------------------------------------------------------------- */

enum { EXPR_MAX = 256, EXPR_STACK = 16, EXPR_STEPS = 256 };

struct stack {
    uintptr_t value[EXPR_STACK];
    unsigned n;
    bool bad;
};

static void push(struct stack *s, uintptr_t value)
{
    if (s->n == EXPR_STACK)
        s->bad = true;
    else
        s->value[s->n++] = value;
}

static uintptr_t pop(struct stack *s)
{
    if (s->n == 0) {
        s->bad = true;
        return 0;
    }
    return s->value[--s->n];
}

static void operate_two(struct stack *s, unsigned op)
{
    uintptr_t b = pop(s), a = pop(s);
    switch (op) {
    case 0x1a:
        push(s, a & b);
        break;
    case 0x1c:
        push(s, a - b);
        break;
    case 0x1e:
        push(s, a * b);
        break;
    case 0x21:
        push(s, a | b);
        break;
    case 0x22:
        push(s, a + b);
        break;
    case 0x24:
        push(s, b < 64 ? a << b : 0);
        break;
    case 0x25:
        push(s, b < 64 ? a >> b : 0);
        break;
    case 0x27:
        push(s, a ^ b);
        break;
    case 0x29:
        push(s, a == b);
        break;
    case 0x2a:
        push(s, (intptr_t)a >= (intptr_t)b);
        break;
    case 0x2b:
        push(s, (intptr_t)a > (intptr_t)b);
        break;
    case 0x2c:
        push(s, (intptr_t)a <= (intptr_t)b);
        break;
    case 0x2d:
        push(s, (intptr_t)a < (intptr_t)b);
        break;
    case 0x2e:
        push(s, a != b);
        break;
    default:
        s->bad = true;
    }
}

static void push_register(struct stack *s, const uintptr_t *regs, uint64_t have, uint64_t reg,
                          int64_t offset)
{
    if (reg >= CFI_REGS || !(have >> reg & 1))
        s->bad = true;
    else
        push(s, regs[reg] + (uintptr_t)offset);
}

static void operate_one(struct stack *s, struct bytes *b, unsigned op)
{
    uintptr_t value;
    switch (op) {
    case 0x03: /* addr */
        push(s, take(b, 8));
        break;
    case 0x06: /* deref */
        if (!peek(&value, pop(s), sizeof value))
            s->bad = true;
        push(s, value);
        break;
    case 0x08: /* const1u, 1s, 2u, 2s, 4u, 4s, 8u, 8s */
    case 0x0a:
    case 0x0c:
    case 0x0e:
        push(s, take(b, 1U << (op - 8) / 2));
        break;
    case 0x09:
    case 0x0b:
    case 0x0d:
    case 0x0f:
        push(s, (uintptr_t)take_signed(b, 1U << (op - 9) / 2));
        break;
    case 0x10: /* constu, consts */
        push(s, take_uleb(b));
        break;
    case 0x11:
        push(s, (uintptr_t)take_sleb(b));
        break;
    case 0x12: /* dup */
        value = pop(s);
        push(s, value);
        push(s, value);
        break;
    case 0x13: /* drop */
        pop(s);
        break;
    case 0x16: { /* swap */
        uintptr_t first = pop(s), second = pop(s);
        push(s, first);
        push(s, second);
        break;
    }
    case 0x23: /* plus_uconst */
        value = pop(s);
        push(s, value + take_uleb(b));
        break;
    default:
        operate_two(s, op);
    }
}

bool cfi_evaluate(uintptr_t expr, const uintptr_t *regs, uint64_t have, bool pushed, uintptr_t cfa,
                  uintptr_t *result)
{
    unsigned char room[EXPR_MAX];
    struct bytes b = bytes_read(room, expr, sizeof room);
    struct stack s = {.n = 0};
    uint64_t length = take_uleb(&b);
    if (b.bad || length > (size_t)(b.end - b.at))
        return false;
    b.end = b.at + length;
    if (pushed)
        push(&s, cfa);
    for (int steps = 0; b.at < b.end && !b.bad && !s.bad && steps < EXPR_STEPS; steps++) {
        unsigned op = (unsigned)take(&b, 1);
        if (op >= 0x30 && op <= 0x4f)
            push(&s, op - 0x30);
        else if (op >= 0x70 && op <= 0x8f)
            push_register(&s, regs, have, op - 0x70, take_sleb(&b));
        else if (op == 0x92) {
            uint64_t reg = take_uleb(&b);
            push_register(&s, regs, have, reg, take_sleb(&b));
        } else
            operate_one(&s, &b, op);
    }
    *result = pop(&s);
    return !b.bad && !s.bad;
}
