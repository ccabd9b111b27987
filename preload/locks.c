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

pid_t shared_begin(bool bind)
{
    struct green *g = self_green();
    if (!g)
        return 0;
    if (bind)
        green_pin();
    else if (!g->bound)
        return 0;
    pid_t was = libc_tid(g->coro.tp);
    libc_set_tid(g->coro.tp, (pid_t)sys_0(SYS_gettid));
    return was;
}

void shared_end(pid_t was)
{
    struct green *g = self_green();
    if (g && was)
        libc_set_tid(g->coro.tp, was);
}
