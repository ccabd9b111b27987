/* What a green thread is: a stack, a libc thread control block, and the registers to go on with.
 *
 * A coroutine knows no scheduler and no events. Whoever embeds `struct coro` decides who runs next.
 */
#ifndef CORO_CORO_H
#define CORO_CORO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct region;

/* Owned by whoever may switch to the coroutine; `region` and `tp` are immutable after coro_new(). */
struct coro {
    void *sp __attribute__((aligned(16))); /* saved stack pointer while suspended */
    uintptr_t tp;          /* thread pointer; on x86-64 that is pthread_self(), see libc_self() */
    struct region *region; /* stack and control block; NULL for an adopted OS thread */
};

/* What pthread_attr_t says about a thread's stack. Sizes in bytes. */
struct coro_attr {
    size_t stack_size; /* usable bytes asked for, before rounding up to pages */
    size_t guard_size; /* 0: no guard */
    void *stack_addr;  /* lowest address of a stack that the program supplies, or NULL */
};

/* Where a coroutine's stack lies, as pthread_getattr_np() reports it. */
struct coro_stack {
    void *low;         /* lowest usable address (above the guard) */
    size_t size;       /* from `low` to the end of the stack */
    size_t guard_size; /* as asked for, rounded as glibc does */
};

/* Prepare the module: read libc's layout, choose the way to set the thread pointer.
 * Returns NULL, or a sentence that says what this libc or kernel does not hold (see libc_check()).
 * Called once, at start-up, before any other call here. */
const char *coro_start(void);

/* For tests: do as if the kernel lacked these. Called before coro_start(). */
enum { CORO_WITHOUT_GUARD_INSTALL = 1, CORO_WITHOUT_FSGSBASE = 2 };
void coro_pretend(unsigned without);

/* Make a coroutine that runs entry(arg) at its first switch, or entry(the coroutine) if arg is NULL;
 * entry must not return. An arg of NULL
 * stands for the new struct coro itself.
 * `extra` bytes (the same for every call in a process) behind the struct coro belong to the caller:
 * zero when the memory is new or was given back to the kernel, left as they were when a region is
 * reused (but for what somebody wrote there too late): so whoever still has a pointer to a finished
 * green thread reads what it was, or zeros, or another one. extra memory is 16-byte aligned and lies
 * in the page of the control block.
 * The coroutine gets a new thread id, stack and guard are as pthread_getattr_np() will report them.
 * Returns NULL with errno ENOMEM or EAGAIN when there is no memory or address space, EINVAL when the
 * stack has no room for the static TLS of the process (as pthread_create() does).
 * May call the program's malloc: call it outside the runtime. Never switches. */
struct coro *coro_new(const struct coro_attr *attr, size_t extra, void (*entry)(void *), void *arg);

/* Give back a coroutine that will never run again; it must not be the running one. Its memory
 * stays mapped and readable for ever: as it is until coro_trim() makes it zero, or until it is reused.
 * Takes one lock, never calls malloc. */
void coro_delete(struct coro *c);

/* Describe the calling OS thread (its own stack and control block) as a coroutine. */
void coro_adopt(struct coro *c);

/* Stop `from` (the running one), go on with `to`. Returns when somebody switches to `from`.
 * Saves what the ABI calls callee-saved, the floating point control words and the thread pointer. */
void coro_switch(struct coro *from, struct coro *to);

/* Call fn(arg) with the thread pointer at `tp`, on the caller's stack; puts it back and returns what
 * fn returned. fn must not switch, and no signal handler that reads thread-local storage may run
 * meanwhile. In assembly, because compilers keep addresses of thread-local data across calls. */
long coro_call_on(uintptr_t tp, long (*fn)(void *arg), void *arg);

void coro_stack_of(const struct coro *c, struct coro_stack *out);

/* Give memory of long unused regions back: stacks, control blocks and what those have of malloc's, of
 * all free regions but a few that were not used since the last call that did less than its budget; at
 * most `budget` regions in one call, some microseconds each. Returns how many were trimmed. Takes the
 * slab's lock, and calls the program's free without it: not where that must not wait. */
size_t coro_trim(size_t budget);

/* Will a coro_trim() some time from now find something to do, if nothing happens meanwhile? Takes the
 * slab's lock. */
bool coro_trim_due(void);

/* Is this the thread pointer of a coroutine, which may have ended at any time before, and whose memory
 * may be zero now? Any thread; async-signal-safe. */
bool coro_has_been(uintptr_t tp);

/* For every region that is made, in use or not: f(tp, data). Used when a library with static TLS is
 * loaded. Takes the slab's lock. */
void coro_each_tp(void (*f)(uintptr_t tp, void *data), void *data);

/* A library that needs code on stacks was loaded (old compilers' nested functions): all coroutines'
 * stacks may hold code from now on. For libc_tls_loaded(). */
void coro_stacks_executable(void);

/* In a forked child: locks are remade; every region but that of `keep` stays where it is and is
 * never reused (memory is shared copy-on-write; other coroutines' stacks may still be referred to).
 * The region of `keep` became libc's main thread and is never reused either. */
void coro_after_fork(struct coro *keep);

#endif
