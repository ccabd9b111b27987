/* Mutexes keep libc's layout and state: the real trylock, else wait in a queue of ours; the real
 * unlock, then wake one of the queue.
 *
 * A green thread that waits is invisible in the lock's word, so whoever releases must come by here:
 * every thread does, ours or not. OS threads that are not ours wait inside libc, in the kernel; the
 * word tells of them, and the real unlock wakes them. Whoever is woken tries again, so the two
 * kinds of waiters never depend on each other.
 */
#include <linux/futex.h>
#include <sys/single_threaded.h>

#include "coro/sys.h"
#include "hub/debug/lockorder.h"
#include "preload/locks.h"

/* How a lock is to be driven. */
enum way {
    WAY_QUEUE,   /* ours */
    WAY_PROTECT, /* priority ceilings in user space; ours */
    WAY_KERNEL,  /* shared by processes, nobody asks who owns it: waits in the kernel */
    WAY_BOUND,   /* shared by processes, and the owner counts: a bound thread's real calls */
    WAY_LIBC,    /* destroyed, or of no known kind: libc says EINVAL */
};

static enum way mutex_way(const pthread_mutex_t *m)
{
    int kind = m->__data.__kind;
    if (kind < 0)
        return WAY_LIBC;
    if (!(kind & (MUTEX_SHARED | MUTEX_INHERIT)))
        return kind & MUTEX_PROTECT ? WAY_PROTECT : WAY_QUEUE;
    if (kind & (MUTEX_ROBUST | MUTEX_INHERIT | MUTEX_PROTECT))
        return WAY_BOUND;
    int type = kind & MUTEX_TYPE;
    return type == PTHREAD_MUTEX_RECURSIVE_NP || type == PTHREAD_MUTEX_ERRORCHECK_NP ? WAY_BOUND
                                                                                     : WAY_KERNEL;
}

/* Might its owner have to be an OS thread's id? */
static inline bool mutex_is_shared(const pthread_mutex_t *m)
{
    return m->__data.__kind & (MUTEX_SHARED | MUTEX_INHERIT);
}

/* ---- Simple mutexes: libc's few instructions, in place ---- */

static inline bool mutex_take(pthread_mutex_t *m)
{
    int word = 0;
    if (!atomic_compare_exchange_strong_explicit((_Atomic int *)&m->__data.__lock, &word, 1,
                                                 memory_order_acquire, memory_order_relaxed))
        return false;
    m->__data.__owner = lock_owner;
    m->__data.__nusers++;
    return true;
}

static inline void mutex_give(pthread_mutex_t *m)
{
    m->__data.__owner = 0;
    m->__data.__nusers--;
    if (__builtin_expect(
            atomic_exchange_explicit((_Atomic int *)&m->__data.__lock, 0, memory_order_release) > 1,
            0))
        sys_6(SYS_futex, &m->__data.__lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Before the program has a second thread libc does without atomic instructions, and so does this.
 */
static inline bool mutex_is_alone(const pthread_mutex_t *m)
{
    return atomic_load_explicit(&green_tls.own, memory_order_relaxed) == OWN_NATIVE &&
           !patch_special && __libc_single_threaded && mutex_is_simple(m->__data.__kind);
}

static inline bool mutex_take_alone(pthread_mutex_t *m)
{
    if (m->__data.__lock)
        return false;
    if (__builtin_expect(!lock_owner, 0))
        lock_owner = lock_tid();
    m->__data.__lock = 1;
    m->__data.__owner = lock_owner;
    m->__data.__nusers++;
    return true;
}

static inline void mutex_give_alone(pthread_mutex_t *m)
{
    m->__data.__owner = 0;
    m->__data.__nusers--;
    m->__data.__lock = 0;
}

/* ---- Taking ---- */

struct mutex_try {
    pthread_mutex_t *mutex;
    int error;
};

/* libc's trylock that finds a robust lock beyond recovery leaves it taken, unlike its lock. */
static int mutex_result(pthread_mutex_t *m, int error)
{
    if (error == ENOTRECOVERABLE) {
        _Atomic int *word = (_Atomic int *)&m->__data.__lock;
        if ((atomic_load(word) & FUTEX_TID_MASK) == lock_tid() &&
            atomic_exchange(word, 0) & (int)FUTEX_WAITERS)
            sys_6(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
        wake(WAIT_MUTEX, m, 1, WAIT_ANY_BITS);
    }
    return error;
}

static bool mutex_ready(void *arg)
{
    struct mutex_try *t = arg;
    if (mutex_is_simple(t->mutex->__data.__kind))
        t->error = mutex_take(t->mutex) ? 0 : EBUSY;
    else
        t->error = real.pthread_mutex_trylock(t->mutex);
    return t->error != EBUSY;
}

/* `polls`: the lock may also come free without a word to our queue. */
static int mutex_wait(pthread_mutex_t *m, int64_t deadline, bool polls)
{
    struct mutex_try t = {m, EBUSY};
    for (int lost = 0; t.error == EBUSY; lost++) {
        int flags = lost >= LOCK_STARVED ? WAIT_STARVED : 0;
        int64_t until = polls ? shared_tick(deadline) : deadline;
        enum wait_result r = wait_on(WAIT_MUTEX, m, WAIT_ANY_BITS, mutex_ready, &t, until, flags);
        if (r == WAIT_TIMED_OUT && until == deadline)
            return ETIMEDOUT;
        if (r != WAIT_NOT_NEEDED)
            mutex_ready(&t);
    }
    return mutex_result(m, t.error);
}

static int mutex_queue_lock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
    struct mutex_try t = {m, EBUSY};
    if (mutex_ready(&t))
        return mutex_result(m, t.error);
    int kind = m->__data.__kind; /* robust locks and inheriting ones have said EDEADLK by now */
    if ((kind & MUTEX_TYPE) == PTHREAD_MUTEX_ERRORCHECK_NP && m->__data.__owner == lock_tid())
        return EDEADLK;
    if (abs && !timespec_valid(abs))
        return EINVAL;
    return mutex_wait(m, lock_deadline(clock, abs), kind & MUTEX_SHARED);
}

/* Waits in the kernel, and lets the others go on meanwhile. */
static int mutex_kernel_lock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
    if (shared_polls())
        return mutex_queue_lock(m, clock, abs);
    int error = real.pthread_mutex_trylock(m);
    if (error != EBUSY)
        return mutex_result(m, error);
    call_begin();
    error = abs ? real.pthread_mutex_clocklock(m, clock, abs) : real.pthread_mutex_lock(m);
    call_end();
    return error;
}

static int mutex_bound_lock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
    pid_t was = shared_begin(true);
    /* libc's timed form of a lock with inheritance refuses clocks even where it need not wait. */
    int error = abs && m->__data.__kind & MUTEX_INHERIT && clock != CLOCK_REALTIME
                    ? EINVAL
                    : mutex_kernel_lock(m, clock, abs);
    shared_end(was);
    return error;
}

static int mutex_lock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
    switch (mutex_way(m)) {
    case WAY_QUEUE:
        return mutex_queue_lock(m, clock, abs);
    case WAY_PROTECT:
        return mutex_protect_lock(m, clock, abs);
    case WAY_KERNEL:
        return mutex_kernel_lock(m, clock, abs);
    case WAY_BOUND:
        return mutex_bound_lock(m, clock, abs);
    default:
        return abs ? real.pthread_mutex_clocklock(m, clock, abs) : real.pthread_mutex_lock(m);
    }
}

static int mutex_lock_watched(pthread_mutex_t *m, void *place)
{
    lockorder_wants(m, place);
    int error = mutex_lock(m, CLOCK_REALTIME, NULL);
    if (!error || error == EOWNERDEAD)
        lockorder_taken(m, place);
    return error;
}

/* `place`: where the program goes on. */
static int mutex_lock_slow(pthread_mutex_t *m, void *place)
{
    if (!lock_owner)
        lock_owner = lock_tid();
    PASS_UNLESS_GREEN_SHARED(mutex_is_shared(m), pthread_mutex_lock, m);
    if (--lock_fuel < 0)
        lock_refuel();
    if (__builtin_expect(lockorder_on, 0))
        return mutex_lock_watched(m, place);
    return mutex_lock(m, CLOCK_REALTIME, NULL);
}

int green_pthread_mutex_lock(pthread_mutex_t *m)
{
    if (lock_attached() && --lock_fuel >= 0 && mutex_is_simple(m->__data.__kind) && mutex_take(m))
        return 0;
    if (mutex_is_alone(m) && mutex_take_alone(m))
        return 0;
    return mutex_lock_slow(m, __builtin_return_address(0));
}

int green_pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
    PASS_UNLESS_GREEN_SHARED(mutex_is_shared(m), pthread_mutex_clocklock, m, clock, abs);
    if (!lock_clock_valid(clock))
        return EINVAL;
    if (clock != CLOCK_REALTIME && m->__data.__kind & MUTEX_WAS_INHERIT)
        return EINVAL; /* as of libc: the kernel's inheritance knows one clock */
    return mutex_lock(m, clock, abs);
}

int green_pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *abs)
{
    PASS_UNLESS_GREEN_SHARED(mutex_is_shared(m), pthread_mutex_timedlock, m, abs);
    return mutex_lock(m, CLOCK_REALTIME, abs);
}

static int mutex_try(pthread_mutex_t *m)
{
    switch (mutex_way(m)) {
    case WAY_PROTECT:
        return mutex_protect_try(m);
    case WAY_BOUND: {
        pid_t was = shared_begin(true);
        int error = mutex_result(m, real.pthread_mutex_trylock(m));
        shared_end(was);
        return error;
    }
    default:
        return mutex_result(m, real.pthread_mutex_trylock(m));
    }
}

int green_pthread_mutex_trylock(pthread_mutex_t *m)
{
    PASS_UNLESS_GREEN_SHARED(mutex_is_shared(m), pthread_mutex_trylock, m);
    int error = mutex_try(m);
    if (error == EBUSY)
        green_futile();
    else if (!error && lockorder_on)
        lockorder_taken(m, __builtin_return_address(0));
    return error;
}

/* ---- Releasing ---- */

/* A recursive lock that stays held when it is released once. Read before: nothing may be read from
 * a lock once it is released, whoever takes it next may free it. */
static inline bool mutex_stays(const pthread_mutex_t *m)
{
    return (m->__data.__kind & MUTEX_TYPE) == PTHREAD_MUTEX_RECURSIVE_NP && m->__data.__count > 1;
}

static inline int mutex_release_to(pthread_mutex_t *m,
                                   void (*wake_one)(enum wait_kind kind, const void *key))
{
    if (__builtin_expect(lockorder_on, 0))
        lockorder_released(m);
    switch (mutex_way(m)) {
    case WAY_PROTECT:
        return mutex_protect_unlock(m);
    case WAY_LIBC:
        return real.pthread_mutex_unlock(m);
    default: {
        if (mutex_is_simple(m->__data.__kind)) {
            mutex_give(m);
            wait_fence();
            wake_one(WAIT_MUTEX, m);
            return 0;
        }
        bool stays = mutex_stays(m);
        pid_t was = mutex_is_shared(m) ? shared_begin(false) : 0;
        int error = real.pthread_mutex_unlock(m);
        shared_end(was);
        wait_fence();
        if (!stays)
            wake_one(WAIT_MUTEX, m);
        return error;
    }
    }
}

static void mutex_wake_one(enum wait_kind kind, const void *key)
{
    wake(kind, key, 1, WAIT_ANY_BITS);
}

int mutex_release(pthread_mutex_t *m)
{
    return mutex_release_to(m, mutex_wake_one);
}

int mutex_retake(pthread_mutex_t *m)
{
    if (lock_attached() && mutex_is_simple(m->__data.__kind) && mutex_take(m))
        return 0;
    int error = self_attach() ? mutex_lock(m, CLOCK_REALTIME, NULL) : real.pthread_mutex_lock(m);
    if (__builtin_expect(lockorder_on, 0) && !error)
        lockorder_taken(m, NULL);
    return error;
}

static int mutex_unlock_slow(pthread_mutex_t *m)
{
    if (lock_passes(PATCH_pthread_mutex_unlock))
        return real.pthread_mutex_unlock(m);
    int error = mutex_release_to(m, wake_lock);
    self_attach(); /* a thread that shall yield, or lost its hub, holds no longer than it must */
    return error;
}

int green_pthread_mutex_unlock(pthread_mutex_t *m)
{
    if (!lock_attached()) {
        if (!mutex_is_alone(m))
            return mutex_unlock_slow(m);
        mutex_give_alone(m);
        return 0;
    }
    if (mutex_is_simple(m->__data.__kind)) {
        mutex_give(m);
        wait_fence();
        wake_lock(WAIT_MUTEX, m);
        return 0;
    }
    if (!mutex_is_plain(m->__data.__kind))
        return mutex_unlock_slow(m);
    bool stays = mutex_stays(m);
    int error = real.pthread_mutex_unlock(m);
    wait_fence();
    if (!stays)
        wake_lock(WAIT_MUTEX, m);
    return error;
}

/* ---- Making ---- */

/* Between the threads of one process inheritance has nothing to act on, and libc marks robust locks
 * as shared whether they are or not: so a private lock is made without both marks. What they mean
 * to the program remains: its owner's death, the errors, the clocks. */
int green_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *attr)
{
    int error = real.pthread_mutex_init(m, attr);
    if (__builtin_expect(lockorder_on, 0))
        lockorder_forget(m);
    if (__builtin_expect(patch_special, 0) && patch_special_enter(PATCH_pthread_mutex_init))
        return error;
    int shared;
    if (error || !attr || pthread_mutexattr_getpshared(attr, &shared) ||
        shared == PTHREAD_PROCESS_SHARED)
        return error;
    int kind = m->__data.__kind;
    if (kind & MUTEX_INHERIT)
        kind |= MUTEX_WAS_INHERIT;
    m->__data.__kind = kind & ~(MUTEX_SHARED | MUTEX_INHERIT);
    return 0;
}

int green_pthread_mutex_consistent(pthread_mutex_t *m)
{
    PASS_UNLESS_GREEN_SHARED(mutex_is_shared(m), pthread_mutex_consistent, m);
    pid_t was = mutex_is_shared(m) ? shared_begin(false) : 0;
    int error = real.pthread_mutex_consistent(m);
    shared_end(was);
    return error;
}
