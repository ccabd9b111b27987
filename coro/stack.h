/* Where coroutines live: regions of memory, each with a stack and a control block, cut from slabs.
 *
 *      low end                                                              high end
 *      | guard | stack ............ | static TLS, struct pthread | region | coro | extra |
 *
 * (aarch64 has struct pthread below the thread pointer and TLS above it.) The size that a program
 * asks for includes TLS and struct pthread, as it does in libc; what is ours comes on top of it.
 */
#ifndef CORO_STACK_H
#define CORO_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "coro/coro.h"

struct stack_class;

/* Lies in its own region, just below the struct coro. `newer` and `older` are under the lock of
 * stack.c, and mean something in a free region only; the rest is owned by whoever took the region, and
 * `class`, `tp`, `low`, `top`, `end` never change while the region is in use or in the free list. All of
 * it goes with the region's memory when that is given back. */
struct region {
    struct region *newer __attribute__((aligned(16)));
    struct region *older;
    struct stack_class *class;
    uintptr_t tp;           /* thread pointer of the control block */
    char *low;              /* lowest byte above the guard */
    char *top;              /* where the stack begins, 16-byte aligned */
    char *end;              /* first byte behind the region */
    struct coro_stack seen; /* what coro_stack_of() says */
    pid_t tid;              /* of the coroutine that lives here */
    _Atomic bool made;      /* the control block has been made once */
};

_Static_assert(sizeof(struct region) % 16 == 0, "struct coro follows, 16-byte aligned");

static inline struct coro *stack_coro(struct region *r)
{
    return (struct coro *)(void *)(r + 1);
}

/* Read the kernel's limits. `without_guard_install`: do as if the kernel lacked it (tests). */
void stack_start(bool without_guard_install);

/* A region for these attributes, recently used ones first; a new one has `made` false and is zero.
 * Returns NULL with errno ENOMEM (no memory or address space) or EINVAL (too small for the control
 * block). `extra` as in coro_new(). */
struct region *stack_take(const struct coro_attr *attr, size_t extra);
void stack_give(struct region *r);

/* See coro_trim(), coro_has_been(), coro_after_fork(). */
size_t stack_trim(size_t budget);
bool stack_has(uintptr_t address);

/* Are there more free regions with memory than are kept? A later stack_trim() finds out whether they
 * are still unused. */
bool stack_trim_due(void);
void stack_after_fork(void);

/* Stacks that are and that will be may hold code from now on. */
void stack_make_executable(void);

/* f(region, data) for every region whose control block was made. Takes the lock. */
void stack_each(void (*f)(struct region *r, void *data), void *data);

#endif
