/* Semaphores that other processes may post, sem_open()'s among them: their posts are known to the
 * kernel alone.
 *
 * Of all green threads that wait for one of them, one waits inside libc, in the kernel, on an OS
 * thread that does nothing else. The others wait in our queue, whatever their number: a post by
 * this process wakes one of them, and so does the one in the kernel when it leaves, for a
 * successor.
 */
#include "preload/cancel.h"
#include "preload/locks.h"
#include "preload/sem.h"
#include "preload/thread.h"

/* Which semaphore a green thread waits for in the kernel, by a hash of its address. Where two fall
 * into one place the second one's waiters all go to the kernel. */
enum { SEM_SCOUTS = 256 };
static _Atomic(sem_t *) sem_scouts[SEM_SCOUTS];

/* The process that they are of: in a forked child those that waited in the kernel are gone. */
static _Atomic uint32_t sem_epoch;

static _Atomic(sem_t *) *sem_place(const sem_t *sem)
{
    if (atomic_load(&sem_epoch) != thread_epoch &&
        atomic_exchange(&sem_epoch, thread_epoch) != thread_epoch)
        for (int i = 0; i < SEM_SCOUTS; i++)
            atomic_store(&sem_scouts[i], NULL);
    return &sem_scouts[((uintptr_t)sem >> 5) % SEM_SCOUTS];
}

/* ---- In the kernel ---- */

struct sem_scout {
    sem_t *sem;
    _Atomic(sem_t *) *place; /* NULL: it is another's */
};

/* Also when cancellation ends the thread inside libc's call. */
static void sem_scout_return(struct sem_scout *s)
{
    call_end();
    if (s->place) {
        atomic_store(s->place, NULL);
        wake(WAIT_SEM, s->sem, 1, WAIT_ANY_BITS);
    }
}

static int sem_kernel_wait(sem_t *sem, _Atomic(sem_t *) *place, clockid_t clock,
                           const struct timespec *abs)
{
    struct sem_scout scout __attribute__((cleanup(sem_scout_return), unused)) = {sem, place};
    call_begin();
    int result = abs ? real.sem_clockwait(sem, clock, abs) : real.sem_wait(sem);
    return result ? errno : 0;
}

/* ---- In our queue ---- */

struct sem_follower {
    sem_t *sem;
    _Atomic(sem_t *) *place;
    bool got;
};

static bool sem_follower_ready(void *arg)
{
    struct sem_follower *f = arg;
    f->got = sem_ready(f->sem);
    return f->got || atomic_load(f->place) != f->sem;
}

/* -1: neither one nor an error, but the one in the kernel may have left. */
static int sem_follow(sem_t *sem, _Atomic(sem_t *) *place, int64_t deadline, bool limited)
{
    struct sem_follower f = {sem, place, false};
    switch (wait_on(WAIT_SEM, sem, WAIT_ANY_BITS, sem_follower_ready, &f, deadline,
                    WAIT_BY_SIGNAL | WAIT_BY_CANCEL)) {
    case WAIT_TIMED_OUT:
        return ETIMEDOUT;
    case WAIT_INTERRUPTED:
        return EINTR;
    case WAIT_RESTARTED:
        return limited ? EINTR : -1;
    case WAIT_CANCELLED:
        cancel_act();
        return -1;
    case WAIT_NOT_NEEDED:
        return f.got ? 0 : -1;
    default:
        return sem_ready(sem) ? 0 : -1;
    }
}

int sem_shared_wait(sem_t *sem, clockid_t clock, const struct timespec *abs)
{
    int64_t deadline = lock_deadline(clock, abs);
    if (shared_polls())
        return sem_queue_wait(sem, deadline, abs, true);
    _Atomic(sem_t *) *place = sem_place(sem);
    int error;
    do {
        sem_t *scout = NULL;
        if (atomic_compare_exchange_strong(place, &scout, sem))
            error = sem_kernel_wait(sem, place, clock, abs);
        else if (scout != sem)
            error = sem_kernel_wait(sem, NULL, clock, abs);
        else
            error = sem_follow(sem, place, deadline, abs);
    } while (error < 0);
    return error;
}
