/* A green thread and its hub part: at once when a call is known to block (call_begin), for life
 * when it changes kernel state of its OS thread (green_pin). The monitor does the third way.
 *
 * The protocol between `own`, `in` and who takes the hub:
 *   enter: in = 1; load own. ATTACHED: go on. REQUESTED: CAS to ATTACHED and yield; if that
 *          fails, look again: ATTACHED, the request was taken back; DETACHED: rejoin (enter.c).
 *   take:  CAS own ATTACHED -> REQUESTED; membarrier; if `in` is 0 and the thread is still the
 *          hub's current: CAS REQUESTED -> DETACHED. Won: the hub belongs to the taker, who gives
 *          it to a spare carrier. Lost: CAS back.
 *   rejoin: stop in the OS thread's post slot and switch to its idle context, which lists itself as
 *          a spare and pushes the thread to its hub's remote queue (carrier.c). Publishing before
 *          the stack is out of use would let it run twice.
 */
#include <errno.h>
#include <signal.h>

#include "../coro/libc.h"
#include "internal.h"

/* Give the hub of the calling, attached thread to a spare carrier. Inside the runtime. */
static bool handoff_give(struct green *g, struct carrier *spare)
{
    struct hub *h = g->hub;
    h->handoffs++;
    PROBE1(handoff, g->id);
    if (__builtin_expect(sched_handoff_watch != NULL, 0))
        sched_handoff_watch(h->index, g);
    atomic_store_explicit(&h->current, NULL, memory_order_relaxed);
    atomic_store_explicit(&h->switches, atomic_load(&h->switches) + 1, memory_order_relaxed);
    atomic_store_explicit(&green_tls.own, OWN_DETACHED, memory_order_release);
    carrier_give(spare, h);
    return true;
}

void call_begin(void)
{
    int e = errno;
    struct green *g = self_green();
    if (g && !hub_settings.strict && g->calls++ == 0) {
        struct carrier *spare = carrier_take_spare(true);
        if (spare) {
            enter();
            handoff_give(g, spare);
            atomic_store_explicit(&green_tls.in, 0, memory_order_release);
            monitor_wake();
        }
    }
    errno = e;
}

void call_end(void)
{
    struct green *g = self_green();
    if (!g || hub_settings.strict || --g->calls)
        return;
    int e = errno;
    enter();
    leave();
    errno = e;
}

static struct carrier *pin_spare(void)
{
    struct carrier *spare = carrier_take_spare(!hub_settings.strict);
    return spare ? spare : carrier_take_spare(true);
}

/* The main OS thread never ends, and it is at a thread's end that the kernel passes its locks on: so
 * nobody is bound to it but the thread whose control block is libc's first, which is the process's
 * face to the kernel. The others detach and come back on the carrier that has the hub then. */
static void pin_leave_main(struct green *g)
{
    for (int tries = 0; tries < 8; tries++) {
        if (g->carrier->native_tp == g->coro.tp || g->carrier->tid != sys_0(SYS_getpid))
            return;
        struct carrier *spare = pin_spare();
        if (!spare)
            return;
        enter();
        handoff_give(g, spare);
        atomic_store_explicit(&green_tls.in, 0, memory_order_release);
        monitor_wake();
        enter();
        leave();
    }
}

/* From here on the thread is to the runtime what a foreign OS thread is: its wrappers make the real
 * calls, and it parks on a futex. Its OS thread stays its own until it ends (carrier_bury()). */
void green_pin(void)
{
    struct green *g = self_green();
    if (!g)
        return;
    pin_leave_main(g);
    struct carrier *spare = pin_spare();
    if (!spare)
        return; /* no more carriers: the thread shares its OS thread, and said so */
    enter();
    handoff_give(g, spare);
    g->bound = g->foreign = true;
    atomic_store(&green_tls.own, OWN_NATIVE);
    libc_robust_register(g->coro.tp);
    atomic_store_explicit(&green_tls.in, 0, memory_order_release);
    monitor_wake();
}

uintptr_t hub_native_tp(void)
{
    struct green *g = green_tls.self;
    if (green_tls.hub)
        return green_tls.hub->carrier->native_tp;
    if (green_tls.native)
        return green_tls.native;
    if (g && g->carrier && (!g->foreign || g->bound))
        return g->carrier->native_tp;
    return (uintptr_t)__builtin_thread_pointer();
}

bool green_kick(struct green *g, int sig, void *info)
{
    struct carrier *c = __atomic_load_n(&g->carrier, __ATOMIC_RELAXED);
    struct green_tls *tls = __atomic_load_n(&g->tls, __ATOMIC_RELAXED);
    struct hub *h = __atomic_load_n(&g->hub, __ATOMIC_RELAXED);
    if (g == self_green() || !c || !tls || !h || g->foreign != g->bound)
        return false;
    int own = atomic_load(&tls->own);
    bool attached = own <= OWN_REQUESTED;
    if (atomic_load(&g->state) == GREEN_PARKED || atomic_load(&g->state) == GREEN_RUNNABLE ||
        (attached && atomic_load(&h->current) != g))
        return false;
    long pid = sys_0(SYS_getpid);
    if (info)
        return sys_4(SYS_rt_tgsigqueueinfo, pid, c->tid, sig, info) == 0;
    return sys_3(SYS_tgkill, pid, c->tid, sig) == 0;
}
