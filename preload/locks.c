/* What several kinds of locks need: a turn for the others, and an owner's id that the kernel knows.
 */
#include "preload/locks.h"

#include "coro/sys.h"

__thread int lock_fuel;
__thread pid_t lock_owner;

void lock_refuel(void)
{
    pid_t tid = lock_tid();
    bool first = lock_owner != tid;
    lock_fuel = LOCK_FUEL;
    lock_owner = tid;
    if (!first)
        green_yield();
}

/* A bound thread is as foreign to the runtime as others, but for this. */
static struct green *shared_self(void)
{
    struct green *g = self_green();
    if (!g && green_tls.self && green_tls.self->bound)
        g = green_tls.self;
    return g;
}

pid_t shared_begin(bool bind)
{
    struct green *g = shared_self();
    if (!g)
        return 0;
    if (bind && !g->bound)
        green_pin();
    if (!g->bound)
        return 0;
    pid_t was = libc_tid(g->coro.tp);
    libc_set_tid(g->coro.tp, (pid_t)sys_0(SYS_gettid));
    return was;
}

void shared_end(pid_t was)
{
    struct green *g = shared_self();
    if (g && was)
        libc_set_tid(g->coro.tp, was);
}

void shared_leave(pid_t *was)
{
    shared_end(*was);
}
