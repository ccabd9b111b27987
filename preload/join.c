/* Waiting for a thread's end, and declining to: pthread_join and its timed forms, pthread_detach.
 *
 * Who joins enters himself into the thread's `life` first; the end sets THREAD_ENDED there and
 * wakes him. So there is one joiner at most, and whoever sees both takes the memory.
 */
#include <errno.h>
#include <threads.h>

#include "cancel.h"
#include "coro/libc.h"
#include "patch.h"
#include "thread.h"

/* How long a join may take. */
struct join_limit {
    bool try; /* not at all: EBUSY */
    clockid_t clock;
    const struct timespec *deadline; /* absolute; NULL: for ever */
};

static const struct join_limit join_for_ever = {.clock = CLOCK_REALTIME};

static bool join_ended(void *arg)
{
    struct thread *t = arg;
    return atomic_load_explicit(&t->life, memory_order_acquire) & THREAD_ENDED;
}

static void join_withdraw(void *arg)
{
    struct thread *t = arg;
    atomic_fetch_and_explicit(&t->life, THREAD_FLAGS, memory_order_relaxed);
}

static int join_park(struct thread *t, int64_t deadline)
{
    do {
        cancel_act();
        if (wait_on(WAIT_JOIN, t, WAIT_ANY_BITS, join_ended, t, deadline, WAIT_BY_CANCEL) ==
            WAIT_TIMED_OUT)
            return join_ended(t) ? 0 : ETIMEDOUT;
    } while (!join_ended(t));
    return 0;
}

/* A cancelled joiner leaves the thread joinable. */
static int join_park_cancellably(struct thread *t, int64_t deadline)
{
    int error;
    pthread_cleanup_push(join_withdraw, t);
    error = join_park(t, deadline);
    pthread_cleanup_pop(0);
    return error;
}

static int join_wait(struct thread *t, const struct join_limit *limit)
{
    int64_t deadline = DEADLINE_NEVER;
    if (join_ended(t))
        return 0;
    if (limit->deadline) {
        if (!timespec_valid(limit->deadline))
            return EINVAL;
        deadline = deadline_from(limit->clock, limit->deadline);
    }
    return join_park_cancellably(t, deadline);
}

/* Would the two wait for each other? Not if one of them is about to end. */
static bool join_deadlocks(const struct thread *t, const struct green *self)
{
    if (&t->green == self)
        return !cancel_pending();
    if (self->foreign)
        return false;
    uintptr_t life =
        atomic_load_explicit(&((const struct thread *)self)->life, memory_order_relaxed);
    return (life & ~(uintptr_t)THREAD_FLAGS) == (uintptr_t)&t->green &&
           !libc_cancel_pending(t->green.coro.tp) && !cancel_pending();
}

static int join_claim(struct thread *t, const struct green *self)
{
    uintptr_t life = atomic_load_explicit(&t->life, memory_order_acquire);
    do {
        if (life & THREAD_GONE)
            return ESRCH;
        if (life & ~(uintptr_t)(THREAD_FLAGS ^ THREAD_DETACHED))
            return EINVAL;
    } while (!atomic_compare_exchange_weak_explicit(&t->life, &life, life | (uintptr_t)self,
                                                    memory_order_acq_rel, memory_order_acquire));
    return 0;
}

static int join_green(struct thread *t, void **result, const struct join_limit *limit)
{
    if (t->epoch != thread_epoch) { /* it ended when fork() left it behind */
        if (result)
            *result = NULL;
        return 0;
    }
    uintptr_t life = atomic_load_explicit(&t->life, memory_order_acquire);
    if (life & THREAD_GONE)
        return ESRCH;
    if (limit->try && !(life & THREAD_ENDED))
        return EBUSY;
    if (life & THREAD_DETACHED)
        return EINVAL;
    struct green *self = self_parker();
    if (join_deadlocks(t, self))
        return EDEADLK;
    int error = join_claim(t, self);
    if (error)
        return error;

    error = join_wait(t, limit);
    if (error) {
        join_withdraw(t);
        return error;
    }
    if (result)
        *result = t->result;
    bool kept = t->kept;
    atomic_store_explicit(&t->life, THREAD_ENDED | THREAD_GONE, memory_order_relaxed);
    if (!kept)
        green_release(&t->green);
    return 0;
}

/* ---- The calls ----
 * Foreign threads, too, may join a green one; and a green one an OS thread that is not ours. */

static void join_call_ended(void *unused)
{
    (void)unused;
    call_end();
}

/* The real call, which is known to block. */
static int join_native(pthread_t id, void **result, const struct join_limit *limit)
{
    int error;
    call_begin();
    pthread_cleanup_push(join_call_ended, NULL);
    error = limit->deadline ? real.pthread_clockjoin_np(id, result, limit->clock, limit->deadline)
                            : real.pthread_join(id, result);
    pthread_cleanup_pop(1);
    return error;
}

static int join_any(pthread_t id, void **result, const struct join_limit *limit)
{
    struct thread *t = thread_of(id);
    return t ? join_green(t, result, limit) : join_native(id, result, limit);
}

int green_pthread_join(pthread_t id, void **result)
{
    (void)patch_passes(PATCH_pthread_join);
    return join_any(id, result, &join_for_ever);
}

int green_pthread_tryjoin_np(pthread_t id, void **result)
{
    (void)patch_passes(PATCH_pthread_tryjoin_np);
    struct thread *t = thread_of(id);
    int error = t ? join_green(t, result, &(struct join_limit){.try = true})
                  : real.pthread_tryjoin_np(id, result);
    if (error == EBUSY)
        green_futile();
    return error;
}

int green_pthread_clockjoin_np(pthread_t id, void **result, clockid_t clock,
                               const struct timespec *deadline)
{
    (void)patch_passes(PATCH_pthread_clockjoin_np);
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
        return EINVAL;
    return join_any(id, result, &(struct join_limit){.clock = clock, .deadline = deadline});
}

int green_pthread_timedjoin_np(pthread_t id, void **result, const struct timespec *deadline)
{
    (void)patch_passes(PATCH_pthread_timedjoin_np);
    return join_any(id, result,
                    &(struct join_limit){.clock = CLOCK_REALTIME, .deadline = deadline});
}

/* As libc: a thread that is being joined stays so, and the caller is not told. */
static int detach_green(struct thread *t)
{
    if (t->epoch != thread_epoch)
        return 0;
    uintptr_t life = atomic_load_explicit(&t->life, memory_order_acquire);
    uintptr_t next;
    do {
        if (life & THREAD_GONE)
            return ESRCH;
        if (life & THREAD_DETACHED)
            return EINVAL;
        if (life & ~(uintptr_t)THREAD_FLAGS)
            return 0;
        next = life | THREAD_DETACHED | (life & THREAD_ENDED ? THREAD_GONE : 0);
    } while (!atomic_compare_exchange_weak_explicit(&t->life, &life, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    if (life & THREAD_ENDED && !t->kept)
        green_release(&t->green);
    return 0;
}

int green_pthread_detach(pthread_t id)
{
    (void)patch_passes(PATCH_pthread_detach);
    struct thread *t = thread_of(id);
    return t ? detach_green(t) : real.pthread_detach(id);
}

/* ---- C11 ---- */

int green_thrd_join(thrd_t id, int *result)
{
    void *value;
    (void)patch_passes(PATCH_thrd_join);
    if (join_any(id, &value, &join_for_ever))
        return thrd_error;
    if (result)
        *result = (int)(intptr_t)value;
    return thrd_success;
}

int green_thrd_detach(thrd_t id)
{
    (void)patch_passes(PATCH_thrd_detach);
    struct thread *t = thread_of(id);
    if (!t)
        return real.thrd_detach(id);
    return detach_green(t) == 0 ? thrd_success : thrd_error;
}
