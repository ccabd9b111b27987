/* A lock for the runtime's own short critical sections: never held across a switch or a call that
 * can block. Spins briefly, then sleeps on a futex; works on every OS thread, green or not.
 * The system call is made directly, because libc's syscall() is a symbol that libgreen interposes.
 */
#ifndef CORO_LOCK_H
#define CORO_LOCK_H

#include <stdatomic.h>

/* 0 free, 1 held, 2 held and somebody may sleep. */
struct lock {
    _Atomic int word;
};

void lock_acquire_slow(struct lock *l);
void lock_wake(struct lock *l);

static inline void lock_acquire(struct lock *l)
{
    int zero = 0;
    if (__builtin_expect(!atomic_compare_exchange_strong_explicit(
                             &l->word, &zero, 1, memory_order_acquire, memory_order_relaxed), 0))
        lock_acquire_slow(l);
}

static inline void lock_release(struct lock *l)
{
    if (__builtin_expect(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2, 0))
        lock_wake(l);
}

static inline void lock_init(struct lock *l)
{
    atomic_store_explicit(&l->word, 0, memory_order_relaxed);
}

#endif
