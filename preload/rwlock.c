/* Read-write locks keep libc's layout and state: the real try forms, else wait in a queue of ours;
 * the real unlock, then wake whom the lock's kind prefers.
 *
 * Who waits in our queue stands in the object too, in fields that libc leaves at zero, so that
 * readers of a lock that prefers writers see a writer that waits.
 */
#include "preload/locks.h"

enum { RWLOCK_READER = 1, RWLOCK_WRITER = 2 }; /* bits of the queue */

/* ---- The object ---- */

static inline _Atomic unsigned *rwlock_readers(pthread_rwlock_t *l)
{
    return (_Atomic unsigned *)&l->__data.__readers;
}

/* Writers in our queue, or on their way into it or out of it. */
static inline _Atomic unsigned *rwlock_writers_waiting(pthread_rwlock_t *l)
{
    return (_Atomic unsigned *)&l->__data.__pad3;
}

/* Threads in our queue that lost the lock again and again. */
static inline _Atomic unsigned *rwlock_starved(pthread_rwlock_t *l)
{
    return (_Atomic unsigned *)&l->__data.__pad4;
}

/* A reader must let the writers go first, though the lock be held by readers, or free: then one of
 * the writers has been woken for it. */
static inline bool rwlock_defers(pthread_rwlock_t *l)
{
    return __builtin_expect(l->__data.__flags == PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP, 0) &&
           lock_count(rwlock_writers_waiting(l));
}

static inline bool rwlock_is_shared(const pthread_rwlock_t *l)
{
    return __builtin_expect(l->__data.__shared, 0);
}

/* ---- Taking ---- */

struct rwlock_try {
    pthread_rwlock_t *lock;
    int error;
};

static bool rwlock_read_ready(void *arg)
{
    struct rwlock_try *t = arg;
    t->error = rwlock_defers(t->lock) ? EBUSY : real.pthread_rwlock_tryrdlock(t->lock);
    return t->error != EBUSY;
}

static bool rwlock_write_ready(void *arg)
{
    struct rwlock_try *t = arg;
    t->error = real.pthread_rwlock_trywrlock(t->lock);
    return t->error != EBUSY;
}

/* Whoever is woken for the lock must try for it, whatever else happened. */
static void rwlock_wait(struct rwlock_try *t, uint32_t who, int64_t deadline)
{
    wait_ready *ready = who == RWLOCK_READER ? rwlock_read_ready : rwlock_write_ready;
    int lost = 0;
    while (t->error == EBUSY) {
        enum wait_result r = wait_on(WAIT_RWLOCK, t->lock, who, ready, t, deadline, 0);
        if (r == WAIT_TIMED_OUT)
            t->error = ETIMEDOUT;
        else if (r != WAIT_NOT_NEEDED && !ready(t) && ++lost == LOCK_STARVED)
            lock_count_add(rwlock_starved(t->lock), 1);
    }
    if (lost >= LOCK_STARVED)
        lock_count_add(rwlock_starved(t->lock), -1);
}

static int rwlock_read_wait(pthread_rwlock_t *l, int64_t deadline)
{
    struct rwlock_try t = {l, EBUSY};
    rwlock_wait(&t, RWLOCK_READER, deadline);
    return t.error;
}

static int rwlock_write_wait(pthread_rwlock_t *l, int64_t deadline)
{
    struct rwlock_try t = {l, EBUSY};
    lock_count_add(rwlock_writers_waiting(l), 1);
    rwlock_wait(&t, RWLOCK_WRITER, deadline);
    unsigned others = lock_count_add(rwlock_writers_waiting(l), -1);
    if (t.error && !others) /* readers that deferred to this writer need not any more */
        wake(WAIT_RWLOCK, l, SIZE_MAX, RWLOCK_READER);
    return t.error;
}

static int rwlock_shared_try(pthread_rwlock_t *l, uint32_t who)
{
    return who == RWLOCK_WRITER ? real.pthread_rwlock_trywrlock(l)
                                : real.pthread_rwlock_tryrdlock(l);
}

/* In the kernel, while the others go on. */
static int rwlock_shared_wait(pthread_rwlock_t *l, uint32_t who, clockid_t clock,
                              const struct timespec *abs)
{
    int error;
    call_begin();
    if (who == RWLOCK_WRITER)
        error =
            abs ? real.pthread_rwlock_clockwrlock(l, clock, abs) : real.pthread_rwlock_wrlock(l);
    else
        error =
            abs ? real.pthread_rwlock_clockrdlock(l, clock, abs) : real.pthread_rwlock_rdlock(l);
    call_end();
    return error;
}

static int rwlock_shared_poll(pthread_rwlock_t *l, uint32_t who, int64_t deadline)
{
    int error;
    if (l->__data.__cur_writer == lock_tid())
        return EDEADLK;
    do {
        int64_t until = shared_tick(deadline);
        sleep_until(until, 0);
        error = rwlock_shared_try(l, who);
        if (error == EBUSY && until == deadline)
            error = ETIMEDOUT;
    } while (error == EBUSY);
    return error;
}

/* Shared by processes. A writer is known by its id, so it is bound; a reader is only counted, and
 * the id that it has here is no writer's. */
static int rwlock_shared_lock(pthread_rwlock_t *l, uint32_t who, clockid_t clock,
                              const struct timespec *abs)
{
    pid_t was = shared_begin(who == RWLOCK_WRITER);
    int error = rwlock_shared_try(l, who);
    if (error == EBUSY)
        error = shared_polls() ? rwlock_shared_poll(l, who, lock_deadline(clock, abs))
                               : rwlock_shared_wait(l, who, clock, abs);
    shared_end(was);
    return error;
}

static int rwlock_lock(pthread_rwlock_t *l, uint32_t who, clockid_t clock,
                       const struct timespec *abs)
{
    if (abs && (!lock_clock_valid(clock) || !timespec_valid(abs)))
        return EINVAL;
    if (rwlock_is_shared(l))
        return rwlock_shared_lock(l, who, clock, abs);
    if (--lock_fuel < 0)
        lock_refuel();
    struct rwlock_try t = {l, 0};
    if (who == RWLOCK_READER ? rwlock_read_ready(&t) : rwlock_write_ready(&t))
        return t.error;
    if (l->__data.__cur_writer == lock_tid())
        return EDEADLK;
    int64_t deadline = lock_deadline(clock, abs);
    return who == RWLOCK_READER ? rwlock_read_wait(l, deadline) : rwlock_write_wait(l, deadline);
}

/* libc's tryrdlock of a lock that only readers hold, or nobody. */
static inline bool rwlock_reader_enters(pthread_rwlock_t *l)
{
    unsigned r = atomic_load_explicit(rwlock_readers(l), memory_order_relaxed);
    return l->__data.__flags == PTHREAD_RWLOCK_PREFER_READER_NP && !rwlock_is_shared(l) &&
           !(r & (RWLOCK_ONE_READER - 1)) && r < RWLOCK_MANY &&
           atomic_compare_exchange_strong_explicit(rwlock_readers(l), &r, r + RWLOCK_ONE_READER,
                                                   memory_order_acquire, memory_order_relaxed);
}

int green_pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    if (lock_attached() && --lock_fuel >= 0 && rwlock_reader_enters(l))
        return 0;
    PASS_UNLESS_GREEN_SHARED(rwlock_is_shared(l), pthread_rwlock_rdlock, l);
    return rwlock_lock(l, RWLOCK_READER, CLOCK_REALTIME, NULL);
}

int green_pthread_rwlock_timedrdlock(pthread_rwlock_t *l, const struct timespec *abs)
{
    PASS_UNLESS_GREEN_SHARED(rwlock_is_shared(l), pthread_rwlock_timedrdlock, l, abs);
    return rwlock_lock(l, RWLOCK_READER, CLOCK_REALTIME, abs);
}

int green_pthread_rwlock_clockrdlock(pthread_rwlock_t *l, clockid_t clock,
                                     const struct timespec *abs)
{
    PASS_UNLESS_GREEN_SHARED(rwlock_is_shared(l), pthread_rwlock_clockrdlock, l, clock, abs);
    return rwlock_lock(l, RWLOCK_READER, clock, abs);
}

int green_pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    PASS_UNLESS_GREEN_SHARED(rwlock_is_shared(l), pthread_rwlock_wrlock, l);
    return rwlock_lock(l, RWLOCK_WRITER, CLOCK_REALTIME, NULL);
}

int green_pthread_rwlock_timedwrlock(pthread_rwlock_t *l, const struct timespec *abs)
{
    PASS_UNLESS_GREEN_SHARED(rwlock_is_shared(l), pthread_rwlock_timedwrlock, l, abs);
    return rwlock_lock(l, RWLOCK_WRITER, CLOCK_REALTIME, abs);
}

int green_pthread_rwlock_clockwrlock(pthread_rwlock_t *l, clockid_t clock,
                                     const struct timespec *abs)
{
    PASS_UNLESS_GREEN_SHARED(rwlock_is_shared(l), pthread_rwlock_clockwrlock, l, clock, abs);
    return rwlock_lock(l, RWLOCK_WRITER, clock, abs);
}

int green_pthread_rwlock_tryrdlock(pthread_rwlock_t *l)
{
    PASS_UNLESS_GREEN_SHARED(rwlock_is_shared(l), pthread_rwlock_tryrdlock, l);
    struct rwlock_try t = {l, 0};
    if (!rwlock_read_ready(&t))
        green_futile();
    return t.error;
}

int green_pthread_rwlock_trywrlock(pthread_rwlock_t *l)
{
    PASS_UNLESS_GREEN_SHARED(rwlock_is_shared(l), pthread_rwlock_trywrlock, l);
    bool shared = rwlock_is_shared(l);
    pid_t was = shared ? shared_begin(true) : 0;
    int error = real.pthread_rwlock_trywrlock(l);
    if (shared)
        shared_end(was);
    if (error == EBUSY)
        green_futile();
    return error;
}

/* ---- Releasing ---- */

/* After the release, by address alone: whoever takes the lock next may free it. */
static void rwlock_wake(const void *key, bool writers_first)
{
    if (writers_first) {
        if (!wake(WAIT_RWLOCK, key, 1, RWLOCK_WRITER))
            wake(WAIT_RWLOCK, key, SIZE_MAX, RWLOCK_READER);
    } else {
        if (!wake(WAIT_RWLOCK, key, SIZE_MAX, RWLOCK_READER))
            wake(WAIT_RWLOCK, key, 1, RWLOCK_WRITER);
    }
}

/* Where libc's release of a reader changes the count alone, that is where other readers stay or no
 * writer waits inside libc, it is done here. -1: not so, else how many readers are left. */
static int rwlock_reader_leaves(pthread_rwlock_t *l)
{
    unsigned r = atomic_load_explicit(rwlock_readers(l), memory_order_relaxed);
    while (r >> RWLOCK_READERS_SHIFT > 1 || r == RWLOCK_ONE_READER)
        if (atomic_compare_exchange_weak_explicit(rwlock_readers(l), &r, r - RWLOCK_ONE_READER,
                                                  memory_order_acq_rel, memory_order_relaxed))
            return (int)(r >> RWLOCK_READERS_SHIFT) - 1;
    return -1;
}

/* *starved: somebody lost the lock again and again, who should run before the caller goes on. */
static int rwlock_release(pthread_rwlock_t *l, bool *starved)
{
    bool writer = l->__data.__cur_writer != 0; /* the caller holds it, so it is the caller */
    bool writers_first = !writer || l->__data.__flags != PTHREAD_RWLOCK_PREFER_READER_NP;
    *starved = lock_count(rwlock_starved(l)) != 0;
    int left = writer ? -1 : rwlock_reader_leaves(l);
    if (left > 0)
        return 0;
    int error = left == 0 ? 0 : real.pthread_rwlock_unlock(l);
    wait_fence();
    rwlock_wake(l, writers_first);
    return error;
}

int green_pthread_rwlock_unlock(pthread_rwlock_t *l)
{
    bool attached = lock_attached();
    if (!attached && lock_passes(PATCH_pthread_rwlock_unlock))
        return real.pthread_rwlock_unlock(l);
    int error;
    bool starved = false;
    if (rwlock_is_shared(l)) {
        pid_t was = shared_begin(false);
        error = real.pthread_rwlock_unlock(l);
        shared_end(was);
    } else {
        error = rwlock_release(l, &starved);
    }
    if (!attached)
        attached = self_attach();
    if (starved && attached)
        green_yield();
    return error;
}
