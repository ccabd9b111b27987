#include "coro/coro.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

#include "coro/libc.h"
#include "coro/stack.h"
#include "coro/tid.h"

/* The offsets that switch_<arch>.S knows. */
_Static_assert(offsetof(struct coro, sp) == 0, "CORO_SP");
_Static_assert(offsetof(struct coro, tp) == 8, "CORO_TP");
_Static_assert(sizeof(struct coro) % 16 == 0, "the caller's bytes follow, 16-byte aligned");

/* switch_<arch>.S: where a new coroutine begins. */
void coro_begin(void);

static unsigned pretended; /* CORO_WITHOUT_...; written before coro_start() */

void coro_pretend(unsigned without)
{
    pretended = without;
}

#if defined(__x86_64__)
enum { HWCAP2_MAY_WRITE_FSBASE = 1 << 1 };

extern unsigned char coro_fsgsbase;

static void choose_thread_pointer(void)
{
    coro_fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_MAY_WRITE_FSBASE) != 0 &&
                    !(pretended & CORO_WITHOUT_FSGSBASE);
}

/* As coro_switch() leaves a suspended coroutine. */
struct frame {
    uint32_t mxcsr;
    uint16_t x87;
    uint16_t unused;
    uintptr_t r15, r14, r13, r12, rbx, rbp;
    uintptr_t begin;
    uintptr_t end[2]; /* a return address of 0, and alignment */
};

static void *frame_make(char *top, void (*entry)(void *), void *arg)
{
    struct frame *f = (struct frame *)(void *)top - 1;
    *f = (struct frame){.r12 = (uintptr_t)entry, .r13 = (uintptr_t)arg, .begin = (uintptr_t)coro_begin};
    /* A thread inherits its creator's rounding and exceptions. */
    __asm__("stmxcsr %0\n\tfnstcw %1" : "=m"(f->mxcsr), "=m"(f->x87));
    return f;
}
_Static_assert(sizeof(struct frame) % 16 == 0, "coro_begin() calls with an aligned stack");
#elif defined(__aarch64__)
static void choose_thread_pointer(void)
{
}

/* As coro_switch() leaves a suspended coroutine. */
struct frame {
    uintptr_t x29, x30, x19, x20, x21, x22, x23, x24, x25, x26, x27, x28;
    double d8_to_d15[8];
    uintptr_t fpcr;
    uintptr_t unused;
};

static void *frame_make(char *top, void (*entry)(void *), void *arg)
{
    struct frame *f = (struct frame *)(void *)top - 1;
    *f = (struct frame){.x19 = (uintptr_t)entry, .x20 = (uintptr_t)arg, .x30 = (uintptr_t)coro_begin};
    /* A thread inherits its creator's rounding. */
    __asm__("mrs %0, fpcr" : "=r"(f->fpcr));
    return f;
}
_Static_assert(sizeof(struct frame) == 176, "as in switch_aarch64.S");
#endif

const char *coro_start(void)
{
    const char *why = libc_check();
    if (why)
        return why;
    choose_thread_pointer();
    stack_start(pretended & CORO_WITHOUT_GUARD_INSTALL);
    return NULL;
}

static bool block_make(struct region *r)
{
    if (r->made) {
        libc_tcb_reset(r->tp);
        return true;
    }
    /* First, so that libraries loaded meanwhile are not missed: see libc_tls.c. */
    r->made = true;
    if (libc_tcb_init(r->tp) == 0)
        return true;
    r->made = false;
    return false;
}

struct coro *coro_new(const struct coro_attr *attr, size_t extra, void (*entry)(void *), void *arg)
{
    struct region *r = stack_take(attr, extra);
    if (!r)
        return NULL;
    if (!block_make(r)) {
        stack_give(r);
        errno = ENOMEM;
        return NULL;
    }
    r->tid = tid_take();
    if (r->tid == 0) {
        stack_give(r);
        errno = EAGAIN;
        return NULL;
    }
    libc_set_tid(r->tp, r->tid);
    libc_set_stack(r->tp, r->seen.low, r->seen.size, r->seen.guard_size);

    char *top = r->top;
    if (attr->stack_addr)
        top = (char *)(((uintptr_t)attr->stack_addr + attr->stack_size) & ~(uintptr_t)15);
    struct coro *c = stack_coro(r);
    *c = (struct coro){.sp = frame_make(top, entry, arg ? arg : c), .tp = r->tp, .region = r};
    return c;
}

void coro_delete(struct coro *c)
{
    struct region *r = c->region;
    tid_give(r->tid);
    stack_give(r);
}

void coro_adopt(struct coro *c)
{
    *c = (struct coro){.tp = (uintptr_t)__builtin_thread_pointer()};
}

void coro_stack_of(const struct coro *c, struct coro_stack *out)
{
    *out = c->region ? c->region->seen : (struct coro_stack){0};
}

size_t coro_trim(size_t budget)
{
    return stack_trim(budget);
}

bool coro_has_been(uintptr_t tp)
{
    return stack_has(tp);
}

bool coro_trim_due(void)
{
    return stack_trim_due();
}

void coro_stacks_executable(void)
{
    stack_make_executable();
}

struct each {
    void (*f)(uintptr_t tp, void *data);
    void *data;
};

static void each_region(struct region *r, void *data)
{
    struct each *each = data;
    each->f(r->tp, each->data);
}

void coro_each_tp(void (*f)(uintptr_t tp, void *data), void *data)
{
    struct each each = {f, data};
    stack_each(each_region, &each);
}

void coro_after_fork(struct coro *keep)
{
    (void)keep; /* everything that the parent made is left alone, this one too */
    stack_after_fork();
    tid_after_fork();
    libc_after_fork();
}
