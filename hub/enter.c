/* The brackets round hub state, and what a thread does on its way in when it lost its hub. */
#include "alloc.h"
#include "internal.h"

__thread struct green_tls green_tls = {.own = OWN_NATIVE};
bool hub_enter_fences;

/* Stop on this OS thread and let its idle context hand us to our hub: we may only be queued once
 * our stack is out of use. Signals stay blocked on this OS thread until it runs somebody again. */
static void rejoin(struct green *g)
{
    struct carrier *c = g->carrier;
    carrier_set_mask(c, ~(uint64_t)0);
    if (g->own && !g->pinned)
        g->hub = g->own;
    c->post = g;
    coro_switch(&g->coro, &c->idle);
    g->hub->rejoins++;
    sched_finish(g->hub);
    own_want(g);
}

struct green *enter_slow(void)
{
    int own = atomic_load_explicit(&green_tls.own, memory_order_relaxed);
    struct green *g = green_tls.self;
    if (own == OWN_REQUESTED) {
        if (atomic_compare_exchange_strong(&green_tls.own, &own, OWN_ATTACHED)) {
            g->hub->budget = 0;
            atomic_store_explicit(&g->state, GREEN_RUNNABLE, memory_order_relaxed);
            sched_switch(g, AFTER_YIELD);
            return g;
        }
        /* The monitor was faster: it has taken the hub, or its request back. */
        if (own == OWN_ATTACHED)
            return g;
    }
    if (own == OWN_DETACHED) {
        rejoin(g);
        return g;
    }
    return own == OWN_HUB ? NULL : self_parker();
}

struct green *self_parker(void)
{
    struct green *g = green_tls.self;
    if (g)
        return g;
    g = green_alloc(sizeof *g);
    *g = (struct green){.foreign = true, .tls = &green_tls, .state = GREEN_RUNNING};
    green_tls.self = g;
    return g;
}

void leave_deferred(void)
{
    struct green *g = green_tls.self;
    atomic_store(&green_tls.deferred, 0);
    if (hub_interrupt_hook && g)
        hub_interrupt_hook(g, atomic_exchange(&g->interrupts, 0));
}

struct green *self_attach_slow(void)
{
    int own = atomic_load_explicit(&green_tls.own, memory_order_relaxed);
    if (own >= OWN_NATIVE)
        return NULL;
    struct green *g = enter();
    leave();
    return g;
}
