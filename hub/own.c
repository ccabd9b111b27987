/* A hub of its own for a green thread that computes, or spins, while others wait. Where the monitor has
 * taken the hub from it again and again, each of its turns costs the others the handoff time; two threads
 * that spin for each other cost one another that much at each exchange. On a hub and an OS thread of its
 * own it stays a green thread in every respect.
 *
 * These hubs come behind those among which threads are distributed, at most one for each processor. None
 * is ever given back: the next such thread gets it.
 */
#include <errno.h>

#include "internal.h"

enum {
    COMPUTED_MOST = 8, /* so many times within */
    COMPUTED_WITHIN_NS = 1000000000,
    CARRIERS_EACH = 8, /* of --max-carriers: a hub keeps one, and calls that block need the others */
};

static struct lock own_lock; /* guards `owned` of hubs, and hub_count once the runtime has started */

void own_computed(struct green *g, int64_t now)
{
    if (now - g->computed_since > COMPUTED_WITHIN_NS) {
        g->computed_since = now;
        g->computed = 0;
    }
    if (g->computed < COMPUTED_MOST)
        g->computed++;
}

/* One that nobody owns, or a new one; NULL: there are enough, or the kernel gives no more. */
static struct hub *own_find(void)
{
    unsigned n = atomic_load(&hub_count);
    for (unsigned i = hub_shared; i < n; i++)
        if (!hub_all[i]->owned)
            return hub_all[i];
    if (n - hub_shared >= hub_processors() || n == HUBS_MAX ||
        (n + 1) * CARRIERS_EACH > hub_settings.max_carriers)
        return NULL;
    struct hub *h = hub_new(n);
    if (h) {
        atomic_store(&h->listening, LISTEN_HUB); /* sleeps, to whoever looks, until it has a carrier */
        atomic_store_explicit(&hub_count, n + 1, memory_order_release);
    }
    return h;
}

/* By who holds the shared hub: the descriptors of a new one have for a moment the number that the program
 * expects to get next, and the others on the shared hub cannot open any meanwhile. */
void own_want(struct green *g)
{
    if (g->computed < COMPUTED_MOST || g->own)
        return;
    int saved = errno;
    lock_acquire(&own_lock);
    if ((g->own = own_find()))
        g->own->owned = true;
    lock_release(&own_lock);
    g->computed = 0;
    errno = saved;
}

void own_end(struct green *g)
{
    if (!g->own)
        return;
    lock_acquire(&own_lock);
    g->own->owned = false;
    lock_release(&own_lock);
}

void own_fork(void)
{
    lock_init(&own_lock);
    hub_shared = 1;
}
