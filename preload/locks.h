/* What the files of locks share: how their functions begin, and how libc 2.36 lays its locks out.
 *
 * The layouts are those of the public headers; what the bits in them mean is part of libc's binary
 * interface, because statically initialised locks carry it into programs.
 */
#ifndef PRELOAD_LOCKS_H
#define PRELOAD_LOCKS_H

#include <errno.h>
#include <pthread.h>

#include "coro/libc.h"
#include "hub/hub.h"
#include "preload/patch.h"
#include "preload/thread.h"

/* ---- How a function begins ---- */

/* True on a green thread that has nothing else to look at: the fast paths' one condition. */
static inline bool lock_attached(void)
{
    return __builtin_expect(atomic_load_explicit(&green_tls.own, memory_order_relaxed) ==
                                    OWN_ATTACHED &&
                                !patch_special,
                            1);
}

/* For calls that concern our queues on any thread, above all those that release: true where libc's
 * call alone is right, that is when the symbol's group is not patched, before the runtime has
 * started, and in a vfork child. Never switches; async-signal-safe. */
static inline bool lock_passes(enum patch_id id)
{
    if (__builtin_expect(patch_special, 0) && patch_special_enter(id))
        return true;
    int own = atomic_load_explicit(&green_tls.own, memory_order_relaxed);
    return own >= OWN_NATIVE && (own == OWN_VFORK || !hub_started());
}

/* The id by which libc's locks know the calling thread. */
static inline pid_t lock_tid(void)
{
    return libc_tid((uintptr_t)pthread_self());
}

/* The clocks that libc takes for a lock's time limit. */
static inline bool lock_clock_valid(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC;
}

/* abs may be NULL: no limit. */
static inline int64_t lock_deadline(clockid_t clock, const struct timespec *abs)
{
    return abs ? deadline_from(clock, abs) : DEADLINE_NEVER;
}

/* A wait whose loser came back this often is served first at the next release. */
enum { LOCK_STARVED = 2 };

/* A program that does nothing but take and release locks parks nowhere. After so many of them a
 * thread yields, so that whoever was woken for one gets its turn. What is left of it travels with
 * the thread; it begins at 0. */
enum { LOCK_FUEL = 256 };
extern __thread int lock_fuel __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* lock_tid() as of the last lock_refuel(): right but for a while after fork(). */
extern __thread pid_t lock_owner __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* When lock_fuel fell below 0: fills up, and yields but for the first time. On a green thread that
 * is attached; may switch. */
void lock_refuel(void);

enum { LOCK_COUNT_BITS = 24 };

static inline unsigned lock_count_tag(void)
{
    return thread_epoch & ((1u << (32 - LOCK_COUNT_BITS)) - 1);
}

/* A number of waiting threads that stands in a lock or beside it. In a forked child the threads of
 * the parent are gone, so the number is tagged with the process: another's is none. */
static inline unsigned lock_count(_Atomic unsigned *tagged)
{
    unsigned n = atomic_load(tagged);
    return n >> LOCK_COUNT_BITS == lock_count_tag() ? n & ((1u << LOCK_COUNT_BITS) - 1) : 0;
}

/* Returns how many there are then. */
static inline unsigned lock_count_add(_Atomic unsigned *tagged, int change)
{
    unsigned before = atomic_load_explicit(tagged, memory_order_relaxed), now;
    do {
        bool ours = before >> LOCK_COUNT_BITS == lock_count_tag();
        now = (ours ? before & ((1u << LOCK_COUNT_BITS) - 1) : 0) + (unsigned)change;
    } while (
        !atomic_compare_exchange_weak(tagged, &before, lock_count_tag() << LOCK_COUNT_BITS | now));
    return now;
}

/* ---- Locks that other processes share ---- */

/* Around real calls on a process-shared lock that has an owner: there the owner must be the id of
 * an OS thread. With `bind` the calling green thread is first bound to its OS thread; without, only
 * one that is bound already changes its id. The id that it had is restored at the end, because its
 * recursive private locks know it by that. Errors are the calls'. May switch. */
pid_t shared_begin(bool bind);
void shared_end(pid_t was);
void shared_leave(pid_t *was); /* the same for a cleanup */

/* PASS_UNLESS_GREEN() for a call that takes a lock, which may be `shared`: a bound thread passes, and
 * there it goes by the id of its OS thread. */
#define PASS_UNLESS_GREEN_SHARED(shared, name, ...)                                               \
    do {                                                                                           \
        if (patch_passes(PATCH_##name)) {                                                          \
            __attribute__((cleanup(shared_leave), unused)) pid_t pass_was =                        \
                (shared) ? shared_begin(false) : 0;                                                \
            return real.name(__VA_ARGS__);                                                         \
        }                                                                                          \
    } while (0)

/* What other processes change wakes nobody in our queues: it is waited for in the kernel, by a real
 * call between call_begin() and call_end(). Under --strict that would stop everybody, so there the
 * queues serve, and who waits in one looks again each time that this much earlier limit passes. */
static inline bool shared_polls(void)
{
    return hub_strict();
}

static inline int64_t shared_tick(int64_t deadline)
{
    int64_t tick = deadline_after(1000000);
    return tick < deadline ? tick : deadline;
}

/* ---- pthread_mutex_t ---- */

enum {
    MUTEX_TYPE = 3, /* PTHREAD_MUTEX_NORMAL, _RECURSIVE, _ERRORCHECK, _ADAPTIVE_NP */
    MUTEX_ROBUST = 1 << 4,
    MUTEX_INHERIT = 1 << 5,
    MUTEX_PROTECT = 1 << 6,
    MUTEX_SHARED = 1 << 7,
    MUTEX_ELISION = 1 << 8,
    MUTEX_NO_ELISION = 1 << 9,
    /* Ours, in a bit that libc never looks at: was asked to be MUTEX_INHERIT (mutex.c). */
    MUTEX_WAS_INHERIT = 1 << 16,

    /* __lock of a MUTEX_PROTECT: the ceiling above, 0 free, 1 held, 2 held and waited for below. */
    MUTEX_CEILING_SHIFT = 19,
    MUTEX_CEILING_LOW = (1 << MUTEX_CEILING_SHIFT) - 1,
};

/* Private, and with no more rules than libc's trylock and unlock follow without system calls. */
static inline bool mutex_is_plain(int kind)
{
    return !(kind & ~(MUTEX_TYPE | MUTEX_ELISION | MUTEX_NO_ELISION));
}

/* Plain, and nobody asks who owns it: taken and released by its word alone. */
static inline bool mutex_is_simple(int kind)
{
    unsigned type = (unsigned)kind & ~(unsigned)MUTEX_NO_ELISION;
    return type == PTHREAD_MUTEX_NORMAL || type == PTHREAD_MUTEX_ADAPTIVE_NP;
}

/* Release the caller's lock as pthread_mutex_unlock() does, waking whoever waits, and take it again
 * without a time limit; for conditions. The first never switches, the second may. */
int mutex_release(pthread_mutex_t *m);
int mutex_retake(pthread_mutex_t *m);

/* mutex_protect.c: the PTHREAD_PRIO_PROTECT mutexes of one process, in user space. */
int mutex_protect_try(pthread_mutex_t *m);
int mutex_protect_lock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs);
int mutex_protect_unlock(pthread_mutex_t *m); /* wakes one; never switches */

/* ---- pthread_cond_t: __wrefs ---- */

enum {
    COND_SHARED = 1,
    COND_MONOTONIC = 2,
    COND_WAITERS_SHIFT = 3, /* threads in libc's own wait */
};

/* ---- pthread_rwlock_t ---- */

/* In __readers: how many, and in the bits below whose turn it is and who waits. */
enum {
    RWLOCK_READERS_SHIFT = 3,
    RWLOCK_ONE_READER = 1 << RWLOCK_READERS_SHIFT,
    RWLOCK_MANY = 1 << 30, /* near the most that libc counts: its own functions say EAGAIN there */
};

/* ---- pthread_barrier_t ---- */

struct libc_barrier {
    unsigned in, round, count;
    int shared;
    unsigned out;
};

/* ---- sem_t ---- */

struct libc_sem {
    _Atomic uint64_t value; /* the count in the lower half, libc's waiters in the upper */
    int shared;             /* of several processes: sem_init() with pshared, sem_open() */
};

/* ---- pthread_once_t ---- */

enum {
    ONCE_RUNNING = 1, /* and above it the fork generation of the process whose thread runs it */
    ONCE_DONE = 2,
};

#endif
