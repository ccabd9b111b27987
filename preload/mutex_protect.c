/* PTHREAD_PRIO_PROTECT mutexes of one process, in user space.
 *
 * libc's own functions raise the kernel priority of the thread whose id stands in the control
 * block; a green thread's is no OS thread's, and its priority is what it was told to remember. Here
 * the same rules are kept on the same layout, except that no priority changes anywhere. Threads
 * that are not ours use libc's functions on the same locks.
 */
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>

#include "coro/sys.h"
#include "preload/locks.h"

/* ---- The ceilings that a thread is under ---- */

/* Which ceilings the calling thread holds, and how many locks of each: travels with it. A thread
 * that holds locks of more ceilings than fit is not held to the surplus ones. */
enum { PROTECT_CEILINGS = 8 };
static __thread struct {
    signed char ceiling[PROTECT_CEILINGS]; /* 0: free */
    unsigned char count[PROTECT_CEILINGS];
    int highest; /* as libc counts it; 0: none */
} protect_held;

static void protect_count(int ceiling, int change)
{
    int slot = -1;
    for (int i = 0; i < PROTECT_CEILINGS; i++) {
        if (protect_held.ceiling[i] == ceiling) {
            slot = i;
            break;
        }
        if (!protect_held.ceiling[i] && slot < 0)
            slot = i;
    }
    if (slot < 0 || (change < 0 && protect_held.ceiling[slot] != ceiling))
        return;
    protect_held.ceiling[slot] = (signed char)ceiling;
    protect_held.count[slot] = (unsigned char)(protect_held.count[slot] + change);
    if (!protect_held.count[slot])
        protect_held.ceiling[slot] = 0;
}

/* The caller begins to be under a ceiling. EINVAL where libc's call would be refused by the kernel,
 * with libc's after-effect: the ceiling counts, and the next attempt finds nothing to change. */
static int protect_raise(int ceiling)
{
    struct sched_param param = {0};
    int policy = SCHED_OTHER;
    green_pthread_getschedparam(pthread_self(), &policy, &param);
    int highest = protect_held.highest;
    if (highest > ceiling || param.sched_priority > ceiling)
        return EINVAL;
    protect_count(ceiling, 1);
    if (ceiling == highest)
        return 0;
    protect_held.highest = ceiling;
    return policy == SCHED_FIFO || policy == SCHED_RR ? 0 : EINVAL;
}

static void protect_lower(int ceiling)
{
    protect_count(ceiling, -1);
    int highest = 0;
    for (int i = 0; i < PROTECT_CEILINGS; i++)
        if (protect_held.ceiling[i] > highest)
            highest = protect_held.ceiling[i];
    protect_held.highest = highest;
}

/* ---- The lock ---- */

static inline _Atomic int *protect_word(pthread_mutex_t *m)
{
    return (_Atomic int *)&m->__data.__lock;
}

static inline int protect_type(const pthread_mutex_t *m)
{
    return m->__data.__kind & MUTEX_TYPE;
}

static inline int protect_ceiling(int word)
{
    return (int)((unsigned)word >> MUTEX_CEILING_SHIFT);
}

struct protect_try {
    pthread_mutex_t *mutex;
    int error;
};

/* Takes the lock if it is free, under its ceiling of that moment. */
static bool protect_ready(void *arg)
{
    struct protect_try *t = arg;
    _Atomic int *word = protect_word(t->mutex);
    int now = atomic_load_explicit(word, memory_order_relaxed) & ~MUTEX_CEILING_LOW;
    int before = now;
    while (!atomic_compare_exchange_weak(word, &before, now | 1)) {
        if (before & MUTEX_CEILING_LOW) {
            t->error = EBUSY;
            return false;
        }
        now = before;
    }
    t->error = 0;
    return true;
}

/* What the caller may not do, or has no need to: -1 when the lock must be taken. */
static int protect_held_already(pthread_mutex_t *m)
{
    if (m->__data.__owner != lock_tid())
        return -1;
    if (protect_type(m) == PTHREAD_MUTEX_ERRORCHECK_NP)
        return EDEADLK;
    if (protect_type(m) != PTHREAD_MUTEX_RECURSIVE_NP)
        return -1;
    if (m->__data.__count == UINT_MAX)
        return EAGAIN;
    m->__data.__count++;
    return 0;
}

static int protect_owned(pthread_mutex_t *m)
{
    m->__data.__owner = lock_tid();
    m->__data.__count = 1;
    m->__data.__nusers++;
    return 0;
}

static int protect_wait(struct protect_try *t, int64_t deadline)
{
    while (t->error == EBUSY) {
        enum wait_result r =
            wait_on(WAIT_MUTEX, t->mutex, WAIT_ANY_BITS, protect_ready, t, deadline, 0);
        if (r == WAIT_TIMED_OUT)
            return ETIMEDOUT;
        if (r != WAIT_NOT_NEEDED)
            protect_ready(t);
    }
    return 0;
}

/* `wait` with abs as its limit (NULL: none), or not at all. */
static int protect_take(pthread_mutex_t *m, bool wait, clockid_t clock, const struct timespec *abs)
{
    int error = protect_held_already(m);
    if (error >= 0)
        return error;
    struct protect_try t = {m, EBUSY};
    for (;;) {
        int ceiling = protect_ceiling(atomic_load(protect_word(m)));
        error = protect_raise(ceiling);
        if (error)
            return error;
        if (!protect_ready(&t)) {
            error = !wait                         ? EBUSY
                    : abs && !timespec_valid(abs) ? EINVAL
                                                  : protect_wait(&t, lock_deadline(clock, abs));
        }
        if (error) {
            protect_lower(ceiling);
            return error;
        }
        if (protect_ceiling(atomic_load(protect_word(m))) == ceiling)
            return protect_owned(m);
        /* The ceiling changed while we waited: begin again under the new one. */
        protect_lower(ceiling);
        atomic_fetch_and(protect_word(m), ~MUTEX_CEILING_LOW);
        wake(WAIT_MUTEX, m, 1, WAIT_ANY_BITS);
        t.error = EBUSY;
    }
}

int mutex_protect_try(pthread_mutex_t *m)
{
    return protect_take(m, false, CLOCK_REALTIME, NULL);
}

int mutex_protect_lock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
    return protect_take(m, true, clock, abs);
}

/* Free the word with this ceiling, and wake: one of ours, and those of libc's that wait for it. */
static void protect_free(pthread_mutex_t *m, int ceiling, size_t wakes)
{
    _Atomic int *word = protect_word(m);
    int before = atomic_exchange(word, ceiling << MUTEX_CEILING_SHIFT);
    if ((before & MUTEX_CEILING_LOW) > 1)
        sys_6(SYS_futex, word, FUTEX_WAKE_PRIVATE, wakes > INT_MAX ? INT_MAX : wakes, NULL, NULL,
              0);
    wake(WAIT_MUTEX, m, wakes, WAIT_ANY_BITS);
}

int mutex_protect_unlock(pthread_mutex_t *m)
{
    if (!self_green()) {
        int error = real.pthread_mutex_unlock(m);
        wait_fence();
        wake(WAIT_MUTEX, m, 1, WAIT_ANY_BITS);
        return error;
    }
    int word = atomic_load(protect_word(m));
    int type = protect_type(m);
    bool mine = m->__data.__owner == lock_tid();
    if (type == PTHREAD_MUTEX_RECURSIVE_NP) {
        if (!mine)
            return EPERM;
        if (--m->__data.__count)
            return 0;
    } else if (type == PTHREAD_MUTEX_ERRORCHECK_NP && (!mine || !(word & MUTEX_CEILING_LOW))) {
        return EPERM;
    }
    m->__data.__owner = 0;
    m->__data.__nusers--;
    protect_free(m, protect_ceiling(word), 1);
    protect_lower(protect_ceiling(word));
    return 0;
}

/* Takes the lock whatever its ceiling, unless the caller holds it, and sets the new one. */
int green_pthread_mutex_setprioceiling(pthread_mutex_t *m, int ceiling, int *old)
{
    PASS_UNLESS_GREEN_SHARED(m->__data.__kind & MUTEX_SHARED, pthread_mutex_setprioceiling, m, ceiling,
                             old);
    int kind = m->__data.__kind;
    if (kind < 0 || !(kind & MUTEX_PROTECT))
        return EINVAL;
    if (kind & MUTEX_SHARED) {
        pid_t was = shared_begin(true);
        call_begin();
        int error = real.pthread_mutex_setprioceiling(m, ceiling, old);
        call_end();
        shared_end(was);
        return error;
    }
    if (ceiling < sched_get_priority_min(SCHED_FIFO) ||
        ceiling > sched_get_priority_max(SCHED_FIFO))
        return EINVAL;
    bool mine = m->__data.__owner == lock_tid();
    if (mine && protect_type(m) == PTHREAD_MUTEX_ERRORCHECK_NP)
        return EDEADLK;
    bool held = mine && protect_type(m) == PTHREAD_MUTEX_RECURSIVE_NP;
    struct protect_try t = {m, EBUSY};
    if (!held && !protect_ready(&t))
        protect_wait(&t, DEADLINE_NEVER);
    int before = protect_ceiling(atomic_load(protect_word(m)));
    if (held) {
        protect_lower(before);
        int error = protect_raise(ceiling);
        if (error)
            return error;
    }
    if (old)
        *old = before;
    if (held)
        atomic_store(protect_word(m), ceiling << MUTEX_CEILING_SHIFT | 2);
    else
        protect_free(m, ceiling, SIZE_MAX);
    return 0;
}
