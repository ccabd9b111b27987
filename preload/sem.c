/* Semaphores: libc's count; who finds it at zero waits in a queue of ours, and a post wakes one.
 *
 * The time-limited forms end with EINTR after any signal handler, sem_wait() only after one without
 * SA_RESTART: so the kernel's futex wait has it, in spite of signal(7).
 */
#include "preload/cancel.h"
#include "preload/locks.h"
#include "preload/sem.h"

/* ---- Waiting ---- */

/* Green threads that keep losing some semaphore: while there are any, nobody takes one in passing.
 */
static _Atomic unsigned sem_starving;

/* libc's trywait without its errno. */
bool sem_ready(void *sem)
{
    _Atomic uint64_t *value = &((struct libc_sem *)sem)->value;
    uint64_t v = atomic_load_explicit(value, memory_order_relaxed);
    while ((uint32_t)v)
        if (atomic_compare_exchange_weak_explicit(value, &v, v - 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

int sem_queue_wait(sem_t *sem, int64_t deadline, bool limited, bool polls)
{
    int lost = 0, error = -1;
    while (error < 0) {
        int64_t until = polls ? shared_tick(deadline) : deadline;
        switch (wait_on(WAIT_SEM, sem, WAIT_ANY_BITS, sem_ready, sem, until,
                        WAIT_BY_SIGNAL | WAIT_BY_CANCEL)) {
        case WAIT_NOT_NEEDED:
            error = 0;
            break;
        case WAIT_WOKEN:
            if (sem_ready(sem))
                error = 0;
            else if (++lost == LOCK_STARVED)
                lock_count_add(&sem_starving, 1);
            break;
        case WAIT_TIMED_OUT:
            if (until == deadline)
                error = ETIMEDOUT;
            break;
        case WAIT_RESTARTED:
            if (limited)
                error = EINTR;
            break;
        case WAIT_INTERRUPTED:
            error = EINTR;
            break;
        case WAIT_CANCELLED:
            if (lost >= LOCK_STARVED)
                lock_count_add(&sem_starving, -1);
            lost = 0;
            cancel_act();
            break;
        }
    }
    if (lost >= LOCK_STARVED)
        lock_count_add(&sem_starving, -1);
    return error;
}

/* abs NULL: no limit. Cancellation acts whether or not it has to wait. */
static int sem_wait_until(sem_t *sem, clockid_t clock, const struct timespec *abs)
{
    cancel_act();
    if (--lock_fuel < 0)
        lock_refuel();
    else if (__builtin_expect(lock_count(&sem_starving), 0))
        green_yield();
    if (sem_ready(sem))
        return 0;
    int error;
    if (__builtin_expect(((struct libc_sem *)sem)->shared, 0))
        error = sem_shared_wait(sem, clock, abs);
    else
        error = sem_queue_wait(sem, lock_deadline(clock, abs), abs, false);
    if (!error)
        return 0;
    errno = error;
    return -1;
}

int green_sem_wait(sem_t *sem)
{
    PASS_UNLESS_GREEN(sem_wait, sem);
    return sem_wait_until(sem, CLOCK_REALTIME, NULL);
}

int green_sem_timedwait(sem_t *sem, const struct timespec *abs)
{
    PASS_UNLESS_GREEN(sem_timedwait, sem, abs);
    if (timespec_valid(abs))
        return sem_wait_until(sem, CLOCK_REALTIME, abs);
    errno = EINVAL;
    return -1;
}

int green_sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *abs)
{
    PASS_UNLESS_GREEN(sem_clockwait, sem, clock, abs);
    if (lock_clock_valid(clock) && timespec_valid(abs))
        return sem_wait_until(sem, clock, abs);
    errno = EINVAL;
    return -1;
}

int green_sem_trywait(sem_t *sem)
{
    PASS_UNLESS_GREEN(sem_trywait, sem);
    int result = real.sem_trywait(sem);
    if (result)
        green_futile();
    return result;
}

/* ---- Posting ---- */

/* Async-signal-safe, so it neither yields nor rejoins. The semaphore may be gone once it is posted:
 * the wake knows its address only. */
int green_sem_post(sem_t *sem)
{
    bool passes = !lock_attached() && lock_passes(PATCH_sem_post);
    int result = real.sem_post(sem);
    if (!passes) {
        wait_fence();
        wake(WAIT_SEM, sem, 1, WAIT_ANY_BITS);
    }
    return result;
}
