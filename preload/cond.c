/* Conditions: the queue is ours, the object's own fields only tell its clock and its sharing.
 *
 * Every thread of the process waits in our queue, so its order is first in, first out, and a signal
 * wakes exactly one. libc's own queue is used for process-shared conditions, and holds threads that
 * began to wait before the runtime started.
 *
 * A waiter whose signal handler ran goes on waiting, as in libc, though POSIX would let it return: not
 * all programs expect that. It was off the queue meanwhile, and returns for no reason only where a wake
 * may have passed by.
 */
#include "preload/cancel.h"
#include "preload/locks.h"

static inline unsigned cond_flags(const pthread_cond_t *c)
{
    return __atomic_load_n(&c->__data.__wrefs, __ATOMIC_RELAXED);
}

static inline bool cond_has_libc_waiters(const pthread_cond_t *c)
{
    return cond_flags(c) >> COND_WAITERS_SHIFT != 0;
}

/* ---- Waiting ---- */

struct cond_mutex {
    pthread_mutex_t *mutex;
    int error;
};

static int cond_release(void *arg)
{
    struct cond_mutex *m = arg;
    m->error = mutex_release(m->mutex);
    return m->error;
}

/* What comes of it: 0, also for no reason, ETIMEDOUT, or what the mutex says. */
static int cond_queue_wait(pthread_cond_t *c, pthread_mutex_t *mutex, int64_t deadline)
{
    struct cond_mutex m = {mutex, 0};
    cancel_act();
    enum wait_result r =
        wait_release(WAIT_COND, c, cond_release, &m, deadline, WAIT_BY_CANCEL | WAIT_HEEDS);
    if (r == WAIT_NOT_NEEDED)
        return m.error;
    int error = mutex_retake(mutex);
    if (r == WAIT_CANCELLED)
        cancel_act();
    return error ? error : r == WAIT_TIMED_OUT ? ETIMEDOUT : 0;
}

/* Put back after libc's wait, also when cancellation ended the thread inside it. */
static void cond_kernel_leave(pid_t *was)
{
    call_end();
    shared_end(*was);
}

/* A condition of several processes: libc's wait, in the kernel. It releases and takes the mutex,
 * which must know the caller by the id that it was taken with. */
static int cond_kernel_wait(pthread_cond_t *c, pthread_mutex_t *mutex, clockid_t clock,
                            const struct timespec *abs)
{
    if (shared_polls()) {
        int64_t deadline = lock_deadline(clock, abs), until = shared_tick(deadline);
        int error = cond_queue_wait(c, mutex, until);
        return error == ETIMEDOUT && until != deadline ? 0 : error;
    }
    __attribute__((cleanup(cond_kernel_leave), unused)) pid_t was = shared_begin(false);
    call_begin();
    return abs ? real.pthread_cond_clockwait(c, mutex, clock, abs)
               : real.pthread_cond_wait(c, mutex);
}

/* A mutex of this process alone means that nobody else can use the condition either. */
static inline bool cond_is_shared(const pthread_cond_t *c, const pthread_mutex_t *mutex)
{
    return cond_flags(c) & COND_SHARED && mutex->__data.__kind & MUTEX_SHARED;
}

static clockid_t cond_clock(const pthread_cond_t *c)
{
    return cond_flags(c) & COND_MONOTONIC ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

int green_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *mutex)
{
    if (!lock_attached()) {
        if (lock_passes(PATCH_pthread_cond_wait))
            return real.pthread_cond_wait(c, mutex);
        self_attach();
    }
    if (__builtin_expect(cond_is_shared(c, mutex), 0))
        return cond_kernel_wait(c, mutex, CLOCK_REALTIME, NULL);
    return cond_queue_wait(c, mutex, DEADLINE_NEVER);
}

static int cond_wait_until(pthread_cond_t *c, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *abs)
{
    if (!timespec_valid(abs))
        return EINVAL;
    if (cond_is_shared(c, mutex))
        return cond_kernel_wait(c, mutex, clock, abs);
    return cond_queue_wait(c, mutex, deadline_from(clock, abs));
}

int green_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *mutex,
                                 const struct timespec *abs)
{
    if (lock_passes(PATCH_pthread_cond_timedwait))
        return real.pthread_cond_timedwait(c, mutex, abs);
    self_attach();
    return cond_wait_until(c, mutex, cond_clock(c), abs);
}

int green_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *mutex, clockid_t clock,
                                 const struct timespec *abs)
{
    if (lock_passes(PATCH_pthread_cond_clockwait))
        return real.pthread_cond_clockwait(c, mutex, clock, abs);
    self_attach();
    if (!lock_clock_valid(clock))
        return EINVAL;
    return cond_wait_until(c, mutex, clock, abs);
}

/* ---- Waking ---- */

int green_pthread_cond_signal(pthread_cond_t *c)
{
    bool attached = lock_attached();
    if (!attached && lock_passes(PATCH_pthread_cond_signal))
        return real.pthread_cond_signal(c);
    int error = 0;
    if (!wake(WAIT_COND, c, 1, WAIT_ANY_BITS) && __builtin_expect(cond_has_libc_waiters(c), 0))
        error = real.pthread_cond_signal(c);
    if (!attached)
        self_attach();
    return error;
}

int green_pthread_cond_broadcast(pthread_cond_t *c)
{
    bool attached = lock_attached();
    if (!attached && lock_passes(PATCH_pthread_cond_broadcast))
        return real.pthread_cond_broadcast(c);
    int error = 0;
    wake(WAIT_COND, c, SIZE_MAX, WAIT_ANY_BITS);
    if (__builtin_expect(cond_has_libc_waiters(c), 0))
        error = real.pthread_cond_broadcast(c);
    if (!attached)
        self_attach();
    return error;
}

/* ---- Destroying ---- */

/* libc's waits for those of its waiters that were woken and have not left yet; ours leave nothing
 * behind that refers to the object. */
int green_pthread_cond_destroy(pthread_cond_t *c)
{
    PASS_UNLESS_GREEN(pthread_cond_destroy, c);
    if (!cond_has_libc_waiters(c))
        return real.pthread_cond_destroy(c);
    call_begin();
    int error = real.pthread_cond_destroy(c);
    call_end();
    return error;
}
