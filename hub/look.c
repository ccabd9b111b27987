#include "look.h"

#include <string.h>

#include "../coro/libc.h"
#include "internal.h"

static enum look_state look_state_of(const struct green *g)
{
    if (g->bound)
        return LOOK_BOUND;
    switch (atomic_load(&g->state)) {
    case GREEN_PARKED:
        return LOOK_PARKED;
    case GREEN_RUNNABLE:
        return LOOK_RUNNABLE;
    case GREEN_DEAD:
        return LOOK_ENDED;
    default:
        break;
    }
    struct green_tls *tls = __atomic_load_n(&g->tls, __ATOMIC_RELAXED);
    return tls && atomic_load(&tls->own) == OWN_DETACHED ? LOOK_DETACHED : LOOK_RUNNING;
}

/* It may end meanwhile: its memory stays, but may become zero, so each pointer is read once. */
void look_at(struct green *g, struct green_look *out)
{
    uintptr_t tp = __atomic_load_n(&g->coro.tp, __ATOMIC_RELAXED);
    *out = (struct green_look){.green = g, .id = g->id, .state = look_state_of(g),
                               .tid = tp ? libc_tid(tp) : 0,
                               .waits_for = g->waits_for, .object = g->wait_object,
                               .since = g->wait_since, .switches = g->switches, .ran = g->ran,
                               .deadline = g->timer_slot ? g->deadline : DEADLINE_NEVER};
    memcpy(out->name, g->name, sizeof out->name);
    out->name[sizeof out->name - 1] = 0;
    const struct carrier *c = __atomic_load_n(&g->carrier, __ATOMIC_RELAXED);
    if (c && out->state != LOOK_PARKED && out->state != LOOK_RUNNABLE)
        out->os_thread = c->tid;
    const struct hub *h = __atomic_load_n(&g->hub, __ATOMIC_RELAXED);
    if (h)
        out->hub = h->index;
}

bool look_holds(const struct green_look *l)
{
    const struct green *g = l->green;
    return g->id == l->id && g->switches == l->switches && look_state_of(g) == l->state;
}

void (*io_shared_watch)(int fd, int events, struct green *g, struct green *other);
void (*sched_watch)(unsigned hub, struct green *left, bool ended, struct green *next);
void (*sched_handoff_watch)(unsigned hub, struct green *g);
void (*hub_detached_hook)(struct green *g, int64_t since);

unsigned hub_os_threads(void)
{
    unsigned peak;
    return native_threads(&peak);
}

bool hub_look_at(unsigned index, struct hub_look *out)
{
    const struct hub *h = index < HUBS_MAX ? hub_all[index] : NULL;
    if (!h)
        return false;
    const struct carrier *c = __atomic_load_n(&h->carrier, __ATOMIC_RELAXED);
    *out = (struct hub_look){
        .os_thread = c ? c->tid : 0,
        .current = atomic_load(&h->current),
        .switches = atomic_load(&h->switches),
        .asleep = atomic_load(&h->listening) & LISTEN_HUB,
        .runnable = h->run_length,
        .timers = h->timer_count,
        .next_deadline = atomic_load(&h->next_deadline),
        .commands = atomic_load(&h->remote) || __atomic_load_n(&h->commands, __ATOMIC_RELAXED),
    };
    return true;
}
