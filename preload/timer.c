/* POSIX timers that signal one thread (SIGEV_THREAD_ID): a green thread's id is not the kernel's, so
 * the kernel is told to signal the process, and the trampoline passes the signal on.
 *
 * SIGEV_THREAD is libc's own: its callbacks run on native threads.
 */
#include "preload/timer.h"

#include <errno.h>
#include <time.h>

#include "coro/lock.h"
#include "hub/green.h"
#include "preload/patch.h"
#include "preload/thread.h"

enum { TARGETS = 256 };

/* Written under target_lock; read by the trampoline without. A slot is free when green is NULL. */
static struct lock target_lock;
static struct {
    _Atomic(struct green *) green;
    _Atomic int timer;   /* the kernel's number */
    _Atomic uint64_t id; /* of the green thread, whose memory may serve another one later */
} targets[TARGETS];
static _Atomic int target_count; /* slots ever used */

struct green *timer_target(const siginfo_t *info)
{
    if (info->si_code != SI_TIMER)
        return NULL;
    int n = atomic_load(&target_count);
    for (int i = 0; i < n; i++) {
        struct green *g = atomic_load(&targets[i].green);
        if (g && atomic_load(&targets[i].timer) == info->si_timerid)
            return g->id == atomic_load(&targets[i].id) ? g : NULL;
    }
    return NULL;
}

static int target_add(int timer, struct green *g)
{
    int i = 0;
    lock_acquire(&target_lock);
    while (i < TARGETS && atomic_load(&targets[i].green))
        i++;
    if (i < TARGETS) {
        atomic_store(&targets[i].timer, timer);
        atomic_store(&targets[i].id, g->id);
        atomic_store(&targets[i].green, g);
        if (i >= atomic_load(&target_count))
            atomic_store(&target_count, i + 1);
    }
    lock_release(&target_lock);
    return i < TARGETS ? 0 : EAGAIN;
}

static int kernel_number(timer_t timer)
{
    return (int)(intptr_t)timer; /* negative for SIGEV_THREAD: a pointer in disguise */
}

int green_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
    PASS_UNLESS_GREEN(timer_create, clock, event, timer);
    if (!event || event->sigev_notify != SIGEV_THREAD_ID)
        return real.timer_create(clock, event, timer);
    struct thread *t = thread_of_tid(event->_sigev_un._tid);
    if (!t)
        return real.timer_create(clock, event, timer);
    struct sigevent process = *event;
    process.sigev_notify = SIGEV_SIGNAL;
    if (real.timer_create(clock, &process, timer))
        return -1;
    int error = target_add(kernel_number(*timer), &t->green);
    if (error) {
        real.timer_delete(*timer);
        errno = error;
        return -1;
    }
    return 0;
}

int green_timer_delete(timer_t timer)
{
    if (patch_special && patch_special_enter(PATCH_timer_delete))
        return real.timer_delete(timer);
    int result = real.timer_delete(timer);
    int n = atomic_load(&target_count);
    for (int i = 0; result == 0 && i < n; i++)
        if (atomic_load(&targets[i].timer) == kernel_number(timer))
            atomic_store(&targets[i].green, NULL);
    return result;
}
